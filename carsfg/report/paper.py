"""The metrics of the paper whose experiments this package repeats, and the protocols behind them.

The paper: O. Almog and A. Edri, Basics of Deep Learning, final project, Colman, 2025.
"""

from dataclasses import dataclass

from carsfg.run_record import RunRecord

IMAGE_SIZE = 224  # pixels, in all experiments of the paper
# tables of the paper, each with the experiments that carsfg ships for it: the paper's first, then ours
TABLES = {
    "Table 2": ("tl_exp1", "tl_exp3", "tl_densenet121", "tl_exp2", "tl_best"),
    "Table 4": ("ir_exp1", "ir_exp2", "ir_exp3", "ir_best"),
    "Table 7": ("cnn_exp1", "cnn_exp2", "cnn_exp3", "cnn_seed_leaky", "cnn_best"),
}
SHIPPED = [experiment for experiments in TABLES.values() for experiment in experiments]
VOTES = {"ir_exp1": 3, "ir_exp2": 10, "ir_exp3": 7}  # number of neighbours that vote in the paper's Table 4


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's Tables 2 and 7.

    Attributes:
        title: name of the row in the paper.
        loss: cross-entropy in nats.
        f1_weighted: mean over the classes, weighted by their images, in percent, as are the next three.
        recall_weighted: equals accuracy by definition.
        precision_weighted: mean over the classes, weighted by their images.
        top1: percentage of correctly classified images.
        meaning: how the images were scored, where it differs from the official protocol.
        leaked: whether copies of training images were scored.
        backbone: name of the network in carsfg; empty for the paper's own CNNs.
    """

    title: str
    loss: float
    f1_weighted: float
    recall_weighted: float
    precision_weighted: float
    top1: float
    meaning: str
    leaked: bool = False
    backbone: str = ""

    @property
    def protocol(self) -> str:
        """Protocol under which a run is scored as the paper's was."""
        return "seed_leaky" if self.leaked else "official"


PAPER = {
    "tl_exp1": PaperRow(
        "ResNet50 - Frozen", 2.3724, 41.96, 42.37, 42.91, 42.37,
        "full images squashed to 224, BatchNorm statistics not frozen, epoch chosen on two thirds of the test images",
        backbone="resnet50",
    ),
    "tl_exp3": PaperRow(
        "ResNet50 - Fine-Tuned", 0.9012, 73.63, 73.78, 78.18, 73.78,
        "5 epochs head + 5 epochs all layers; scored on 2,681 test images, epoch chosen on the other 5,360",
        backbone="resnet50",
    ),
    "tl_densenet121": PaperRow(
        "DenseNet121 - Progressive", 1.0800, 71.70, 71.69, 75.43, 71.69,
        "scored on 2,681 test images, epoch chosen on the other 5,360", backbone="densenet121",
    ),
    "cnn_exp1": PaperRow(
        "Basic CNN", 4.6955, 8.52, 8.88, 9.80, 8.88, "official test images, epoch chosen on them",
    ),
    "cnn_exp2": PaperRow(
        "Modified DirectCNN", 4.5436, 6.23, 8.16, 7.17, 8.16, "official test images, epoch chosen on them",
    ),
    "cnn_exp3": PaperRow(
        "Advanced CNN + Aug", 1.1026, 72.17, 72.26, 72.99, 72.26,
        "a leak: scored on copies of training images, no test image among them; cnn_seed_leaky repeats it",
        leaked=True,
    ),
}  # fmt: skip
PAPER["cnn_seed_leaky"] = PAPER["cnn_exp3"]


@dataclass(frozen=True)
class RetrievalRow:
    """A row of the paper's Table 4.

    Attributes:
        title: name of the row in the paper.
        f1_weighted: of the k-NN classification, weighted by the images per class, in percent, as are the next three.
        recall_weighted: equals accuracy by definition.
        top1: percentage of correctly classified images.
        precision_weighted: mean over the classes, weighted by their images.
        fit_s: seconds to fit the k-NN.
        predict_s: duration of the search and vote for all queries.
        backbone: name of the network in carsfg.
    """

    title: str
    f1_weighted: float
    recall_weighted: float
    top1: float
    precision_weighted: float
    fit_s: float
    predict_s: float
    backbone: str


RETRIEVAL = {
    "ir_exp1": RetrievalRow("ResNet50 - KNN (k=3)", 75.23, 74.93, 74.93, 77.38, 0.0092, 1.1998, "resnet50"),
    "ir_exp2": RetrievalRow("ResNet50 - KNN (k=10)", 76.77, 76.77, 76.77, 78.81, 0.0079, 1.3873, "resnet50"),
    "ir_exp3": RetrievalRow("DenseNet121 - Cosine (k=7)", 73.49, 73.41, 73.41, 75.33, 0.0047, 1.0178, "densenet121"),
}
RETRIEVAL_MEANING = "scikit-learn's k-NN in the training images, on 4,021 of the test images"


def paper_row(record: RunRecord) -> PaperRow | None:
    """Return the paper's row for an experiment on all test images of the real Stanford Cars, or None.

    The protocol must be the paper's, or the official one: a row that is `leaked` is to be marked so beside the latter.

    Args:
        record: run record of the compared result.
    """
    row = PAPER.get(record.experiment)
    wanted = row is not None and record.protocol in ("official", row.protocol)
    return row if wanted and is_comparable(record) else None


def retrieval_row(record: RunRecord) -> RetrievalRow | None:
    """Return the paper's row for a retrieval in the training images of the real Stanford Cars, or None.

    Args:
        record: run record of the compared result.
    """
    searched = (record.protocol, record.data.get("retrieval"))
    wanted = searched == ("official", "closed_train_gallery") and is_comparable(record)
    return RETRIEVAL.get(record.experiment) if wanted else None


def is_comparable(record: RunRecord) -> bool:
    """Return whether a run may stand in the paper's tables: on all 8,041 test images of the real Stanford Cars.

    Args:
        record: run record of the compared result.
    """
    return record.is_stanford_cars and not record.scored_part and record.protocol in ("official", "seed_leaky")
