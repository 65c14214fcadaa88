"""Things that people write between layers: layers made where they are used, images from vectors, sampled places."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("keras")

from tests.ported import proved  # noqa: E402

nn, F = torch.nn, torch.nn.functional


class MadeWhereUsed(nn.Module):
    """A layer without weights that the forward pass makes anew."""

    def __init__(self):
        super().__init__()
        self.conv, self.dense = nn.Conv1d(3, 6, 1), nn.Linear(6, 4)

    def forward(self, x):
        x = nn.ReLU(inplace=True)(self.conv(x.transpose(1, 2)))
        x = nn.MaxPool1d(x.size(-1))(x)
        x = nn.Flatten(1)(x)
        return nn.Softmax(dim=1)(self.dense(x))


class Decoder(nn.Module):
    """An image from a vector, within a sequence."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(5, 4 * 3 * 2),
            nn.ReLU(),
            nn.Unflatten(1, (4, 3, 2)),
            nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
        )

    def forward(self, z):
        return self.net(z)


class Sampled(nn.Module):
    """A spatial transformer: an affine grid, and the image at its places."""

    def __init__(self, mode="bilinear", rims="zeros", corners=False):
        super().__init__()
        self.theta = nn.Linear(3, 6)
        self.mode, self.rims, self.corners = mode, rims, corners

    def forward(self, x):
        theta = self.theta(x.mean((2, 3))).view(-1, 2, 3)
        grid = F.affine_grid(theta, x.size(), align_corners=self.corners)
        return F.grid_sample(
            x, grid, mode=self.mode, padding_mode=self.rims, align_corners=self.corners
        ) + F.grid_sample(x, grid * 0.5, align_corners=False)


class Apart(nn.Module):
    """Two images through one network, and how far apart they are."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)

    def once(self, x):
        return self.conv(x).mean((2, 3))

    def forward(self, a, b):
        return F.pairwise_distance(self.once(a), self.once(b), keepdim=True)


@pytest.mark.parametrize(
    ("build", "shapes"),
    [
        (MadeWhereUsed, [(2, 7, 3)]),
        (Decoder, [(2, 5)]),
        (Sampled, [(2, 6, 9, 3)]),
        (lambda: Sampled("bilinear", "border", True), [(2, 6, 9, 3)]),
        (Apart, [(2, 6, 7, 1), (2, 6, 7, 1)]),
    ],
)
def test_what_people_write(build, shapes) -> None:
    proved(build, *shapes)
