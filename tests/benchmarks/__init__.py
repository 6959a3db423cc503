"""Speed, as ratios against named rivals in the same run: `pytest -m measure --benchmark-json=speed.json`."""
