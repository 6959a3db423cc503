"""The memory of a batch, counted by hand for a small network."""

import pytest
import torch
from torch import nn

from carsfg.callbacks import CheckMemory, check_memory
from carsfg.callbacks.check_memory import kept_bytes, refusal
from carsfg.errors import InputError
from tests.conftest import MakeCars, MakeTask, MakeTrainer


def test_what_a_network_keeps_of_an_image() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    # the image for the convolution, and the output of the ReLU, which is also what the pooling takes
    assert kept_bytes(network, 16) == 16 * 16 * 4 * (3 + 5)
    assert kept_bytes(network.requires_grad_(False), 16) == 0
    assert all(parameter.device.type == "cpu" for parameter in network.parameters())


def test_attention_weights_are_not_kept() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = images.flatten(2).mT * self.scale  # one of 3 channels per pixel
            return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)

    pixels = 16 * 16
    assert pixels * 3 * 4 <= kept_bytes(Attention(), 16) < 20 * pixels * 3 * 4 < pixels * pixels * 4


def test_a_network_that_looks_at_values_cannot_be_told() -> None:
    class Looking(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images if images.sum().item() > 0 else -images

    assert kept_bytes(Looking(), 16) == 0


@pytest.mark.parametrize(
    ("free_gb", "said"),
    [
        (
            10,
            "of 512 pixels needs 32.00 GB of memory or more, 10.00 GB are free: use data.batch_size 8",
        ),
        (1, "1.00 GB are free: use model.image_size 320 or less"),  # 512 x sqrt(0.8 / 2) = 323
    ],
)
def test_the_message_names_a_number_that_fits(free_gb: int, said: str) -> None:
    assert said in refusal(32, 2**30, free_gb * 2**30, 512)


@pytest.mark.parametrize(("free", "fits"), [(10**9, True), (10**6, False)])
def test_a_batch_is_compared_with_the_free_memory(
    free: int,
    fits: bool,
    make_task: MakeTask,
    make_cars: MakeCars,
    make_trainer: MakeTrainer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check_memory, "free_memory", lambda _: free)
    trainer = make_trainer(callbacks=[CheckMemory()], limit_train_batches=1, limit_val_batches=0)
    task, data = make_task(), make_cars(batch_size=50_000)  # no batch is larger than the 36 training images
    if fits:
        trainer.fit(task, data)
        return
    with pytest.raises(
        InputError, match=r"a batch of 36 images of 32 pixels .*: use (data.batch_size|model.image_size)"
    ):
        trainer.fit(task, data)
