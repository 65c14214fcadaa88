"""What `datasets.lint` holds a data set to: each rule's severity, what must hold, and what to do."""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """One rule."""

    severity: str
    must: str
    advice: str


RULES: dict[str, Rule] = {
    "broken-record": Rule(
        "error", "a record must follow the format", "Correct the records, or make the file again."
    ),
    "unreadable": Rule("error", "a picture must be readable", "Copy the file again, or take it out."),
    "unpaired": Rule(
        "error", "every image must have a mask of the same name", "Add the other file, or rename it."
    ),
    "lossy-mask": Rule(
        "error", "a mask must be stored without loss", "Write masks as PNG; JPEG changes class indices."
    ),
    "image-dtype": Rule("error", "an image must be uint8", "Store values 0..255 as uint8."),
    "image-channels": Rule(
        "error", "an image must be (H, W, 3)", "Convert it to RGB (Pillow: image.convert('RGB'))."
    ),
    "colour-mask": Rule(
        "error",
        "a mask must hold class indices, not colours",
        "Map each colour to its class index, and store one channel.",
    ),
    "mask-shape": Rule(
        "error", "a mask must be (H, W) or (C, H, W)", "Store class indices, or a channel a class."
    ),
    "mask-dtype": Rule("error", "a mask must hold integers", "Store masks as uint8."),
    "channel-count": Rule("error", "a mask must have one channel a class", "Add the missing channels."),
    "sizes-differ": Rule(
        "error",
        "an image and its mask must have one size",
        "Crop both alike, or resize the mask with nearest neighbours.",
    ),
    "mask-0-255": Rule(
        "error",
        "a label map must hold class indices 0, 1, 2, ...",
        "Divide the masks by 255: 255 is read as a class of its own, or as pixels that do not count.",
    ),
    "out-of-range": Rule(
        "error",
        "a label map must hold classes or the ignored value",
        "Give the right --classes and --ignore, or map the values to indices.",
    ),
    "wrong-value": Rule(
        "error",
        "a mask channel must hold 0 and its class's value",
        "Write the class's value into its channel.",
    ),
    "blended-mask": Rule(
        "error",
        "a mask must have no values between two classes at its edges",
        "It was drawn with anti-aliasing, or resized with interpolation: use nearest neighbours.",
    ),
    "boxes-per-class": Rule(
        "error", "boxes must be one list a class", "Give an empty list where a class has none."
    ),
    "box-outside": Rule(
        "error",
        "a box must be [min_x, min_y, max_x, max_y] inside the image",
        "Order its corners, count from 0, and include both.",
    ),
    "box-loose": Rule(
        "error",
        "each side of a box must touch its class's mask",
        "Draw the box again from the mask; look at swapped x and y, and at off-by-one corners.",
    ),
    "mask-outside-boxes": Rule(
        "error", "every pixel of a mask must be inside a box of its class", "Add the missing box."
    ),
    "contradiction": Rule(
        "error", "one image must have one mask", "Keep the right one of the masks that differ."
    ),
    "class-never-occurs": Rule(
        "error", "every class must occur", "Add images of it, or leave the class out: it cannot be learned."
    ),
    "gaps": Rule(
        "warning",
        "class indices should follow one another from 0",
        "Map the values to 0, 1, 2, ..., or give --classes if they are right.",
    ),
    "palette-mask": Rule(
        "warning",
        "a mask should hold class indices as grey values",
        "Its indices were read here. OpenCV and others give colours: open it with Pillow, without convert.",
    ),
    "all-background": Rule(
        "warning", "a mask should have an object", "Look whether its annotation was forgotten."
    ),
    "blank-image": Rule("warning", "an image should have more than one colour", "Look whether it is broken."),
    "duplicate": Rule(
        "warning", "an image should occur once", "Take copies out; above all from train and test together."
    ),
    "rare-class": Rule(
        "warning",
        "a class should have a hundredth of the commonest class's pixels",
        "Add images of it, or weigh it more; judge by its own IoU, not by the pixel accuracy.",
    ),
}
