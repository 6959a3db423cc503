from carsfg.errors import suggestion


def test_suggestions() -> None:
    assert suggestion("--data.rot", ["--data.root", "--knn"]) == " (did you mean '--data.root'?)"
    assert suggestion("quite else", ["--data.root"]) == ""
