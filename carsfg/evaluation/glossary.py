"""Terms of tables and pages: titles of metrics, protocols and definitions."""

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
# metrics of a ranking, in the order of all tables
# and the number of ranks they look at; 0: as many as there are relevant items, or all
RANKED = {
    "top_1": 1, "top_5": 5, "top_10": 10, "precision_10": 10, "r_precision": 0, "map_at_r": 0, "map": 0,
}  # fmt: skip
PROTOCOLS = {
    "official": "training on the training images, scores on the test images",
    "closed_train_gallery": "queries are the test images, the gallery is all training images",
    "closed_loo": "leave one out: queries are the test images, the gallery of each is all other test images",
    "zero_shot": "training on the first half of the classes; queries and gallery are the images of the second half",
}
RANKINGS = {
    "top-k": "share of queries with an image of their class among the first k (Recall@k)",
    "precision@10": "share of images of the query's class among the first 10",
    "R-precision": "share of images of the query's class among the first R; R: number of such images in the gallery",
    "MAP@R": "(1/R) sum of precision@i over the ranks i <= R that hold an image of the query's class",
    "mAP": "(1/R) sum of precision@i over all ranks i that hold an image of the query's class",
}
