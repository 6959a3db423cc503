"""What the words of tables and pages mean, each in one place."""

TITLES = {
    "head_top_1": "head top-1",
    "linear_probe": "linear probe",
    "top_1": "top-1",
    "top_5": "top-5",
    "top_10": "top-10",
    "precision_10": "precision@10",
    "r_precision": "R-precision",
    "map_at_r": "MAP@R",
    "map": "mAP",
}
PROTOCOLS = {
    "official": "cars_train is learned from, cars_test is scored",
    "closed_train_gallery": "each image of cars_test is searched in all of cars_train",
    "closed_loo": "each image of cars_test is searched among the others",
    "zero_shot": "images of the second half of the classes, of both folders, searched among themselves",
}
RANKINGS = {
    "top-k": "an image of the query's class is among the first k (Recall@k)",
    "precision@10": "share of images of the query's class among the first 10",
    "R-precision": "the same among the first R, where R images of its class can be found",
    "MAP@R": "(1/R) sum of precision@i over the ranks i <= R that hold an image of its class",
    "mAP": "the same over all ranks",
}
