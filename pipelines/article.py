"""Accuracies that the article published: top-1 in percent on CIFAR-10's 10,000 test images.

Singh & Bazargan, "Compressing Neural Networks Using Learnable 1-D Non-Linear Functions", ACM TRETS 2024,
doi 10.1145/3705926. Its ResMLPs have 4 blocks of 96 channels; its h = 2.0, 1.0, 0.5, 0.25 are the hidden widths here.
"""

from __future__ import annotations

CITATION = "Singh & Bazargan, ACM TRETS 2024, doi 10.1145/3705926"
TEST_IMAGES = 10_000
EMBED, BLOCKS = 96, 4  # channels, blocks
GRID = 64  # points on [-4, 4], of its B-splines and LERP-PSAs
HIDDEN = (192, 96, 48, 24)  # channels
ACTIVATIONS = {"relu": "ReLU", "bspline": "B-spline", "lerp_psa": "LERP-PSA", "psa": "PSA"}  # ours -> as people write it
FLOAT = {
    ("relu", 192): 87.8, ("relu", 96): 86.2, ("relu", 48): 83.3, ("relu", 24): 78.8,
    ("bspline", 192): 89.1, ("bspline", 96): 87.7, ("bspline", 48): 85.6, ("bspline", 24): 84.1,
    ("lerp_psa", 192): 89.0, ("lerp_psa", 96): 88.3, ("lerp_psa", 48): 85.9, ("lerp_psa", 24): 84.2,
}  # fmt: skip
INT8 = {("relu", 192): 87.9, ("relu", 96): 86.1, ("lerp_psa", 96): 88.1}
