"""The figures of the report this package reproduces, and what they mean."""

from dataclasses import dataclass

IMAGE_SIZE = 224  # pixels, in all of the report's experiments


@dataclass(frozen=True)
class PaperRow:
    """A row of the report's Tables 2 and 7.

    Attributes:
        title: the row's name there.
        loss: cross-entropy, in nats.
        f1_weighted: in percent, as are the next three.
        recall_weighted: equals accuracy, being the class-weighted mean.
        precision_weighted: class-weighted mean.
        top1: accuracy.
        meaning: what was really measured, as far as it differs from the official test protocol.
        leaked: whether the images it was scored on were in training, too.
        backbone: the network, as carsfg names it; empty where it is the report's own.
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


PAPER = {
    "tl_exp1": PaperRow(
        "ResNet50 - Frozen", 2.3724, 41.96, 42.37, 42.91, 42.37,
        "full images squashed to 224, BatchNorm statistics drifting, epoch chosen on two thirds of the test images",
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
    """A row of the report's Table 4.

    Attributes:
        title: the row's name there.
        f1_weighted: of the k-NN vote, in percent, as are the next three.
        recall_weighted: equals accuracy.
        top1: accuracy.
        precision_weighted: class-weighted mean.
        fit_s: seconds to fit the k-NN.
        predict_s: seconds to predict.
        backbone: the network, as carsfg names it.
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
