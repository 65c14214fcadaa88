"""The same network as the team ported it to Keras, with the two mistakes that nearly every port has."""

import keras
from keras import layers


def build() -> keras.Model:
    """(N, H, W, 3) -> (N, H, W, 5), H and W even."""
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", name="down")(image)  # pads bottom and right alone
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))  # epsilon is 1e-3 here, 1e-5 in PyTorch
    x = x + layers.Conv2D(16, 3, padding="same", activation="relu", name="body")(x)
    return keras.Model(image, layers.Conv2DTranspose(5, 4, strides=2, padding="same", name="up")(x))
