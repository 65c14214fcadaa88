"""The API reference: what is public, by where it is written; the text is in the docstrings."""

from __future__ import annotations

from pathlib import Path

PARITY = {
    "Compare": ["parity.verdict.compare.compare", "parity.verdict.compare.assert_parity"],
    "Copy weights": ["parity.weights.transfer.transfer", "parity.weights.optimizer_state.transfer_optimizer",
                     "parity.weights.models.pair"],
    "Write a port": ["parity.porting.port.port", "parity.porting.port.Port"],
    "Results": ["parity.report.result.Report", "parity.core.finding.Finding", "parity.core.finding.Kind",
                "parity.weights.transfer.TransferResult"],
    "Errors": ["parity.core.errors"],
}  # fmt: skip
HALVES = {
    "layers": "Layers", "ops": "Convolution arithmetic", "convolution": "Convolution, one channel",
    "matrices": "Convolution as a matrix", "initializers": "Initial values", "upsampling": "Upsampling",
    "blocks": "Skip blocks", "munet": "mUnet", "unet": "U-Net", "fcn": "FCN", "resnet": "ResNet", "vgg": "VGG",
    "aspp": "ASPP", "deeplab": "DeepLab", "buildingnet": "Building network", "optimizers": "Optimizers", "losses": "Losses",
    "metrics": "Metrics",
}  # fmt: skip


def api_pages(root: Path) -> dict[str, str]:
    """A page for parity, and one for each module that both halves have."""
    lines = ["# parity", "", "Everything here is imported as `parity.NAME`.", ""]
    for head, names in PARITY.items():
        lines += [f"## {head}", ""]
        for name in names:
            lines += [f"::: {name}", ""]
    pages = {"api/index.md": index(), "api/parity.md": "\n".join(lines)}
    for module, title in HALVES.items():
        text = [f"# {title}", "", f"The same names in `tf_impl.{module}` and `torch_impl.{module}`.", ""]
        for half, framework in (("tf_impl", "Keras"), ("torch_impl", "PyTorch")):
            text += [
                f"## {framework}",
                "",
                f"::: {half}.{module}",
                "    options:",
                "      show_root_heading: false",
                "      show_root_toc_entry: false",
                "",
            ]
        pages[f"api/{module}.md"] = "\n".join(text)
    return pages


def index() -> str:
    """What there is."""
    lines = [
        "# API", "", "From the docstrings, read without importing anything. `tf_impl` and `torch_impl` are mirror images: "
        "the same files, classes, arguments and attributes.", "", "| page | what it has |", "|---|---|",
        "| [parity](parity.md) | compare two models, copy weights, write a port |",
    ]  # fmt: skip
    lines += [
        f"| [{title}]({module}.md) | `tf_impl.{module}`, `torch_impl.{module}` |"
        for module, title in HALVES.items()
    ]
    return "\n".join(lines) + "\n"
