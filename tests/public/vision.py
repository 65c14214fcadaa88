"""Vision transformers and an autoencoder of keras-hub against transformers and diffusers."""

from __future__ import annotations

from typing import Any

from tests.public.language import hub, hugging
from tests.public.pair import PublicPair, differ, picture

SMALL: dict[str, Any] = {"num_layers": 2, "num_heads": 3, "hidden_dim": 24}
HF_SMALL: dict[str, Any] = {
    "num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 24, "intermediate_size": 40,
}  # fmt: skip


def sam_encoder() -> Any:
    """SAM's image encoder behind the scaling of its processor, which keras-hub has inside the model."""
    import torch
    import transformers

    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = transformers.SamVisionConfig(
                **{**HF_SMALL, "num_hidden_layers": 3}, mlp_dim=40, output_channels=12, image_size=64, patch_size=8,
                window_size=3, global_attn_indexes=[1],
            )  # fmt: skip
            self.encoder = transformers.SamVisionModel(config)
            scaling = torch.tensor(
                [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
            )  # float32, as keras-hub holds them
            self.register_buffer("scaling", scaling.reshape(2, 1, 3, 1, 1), persistent=False)

        def forward(self, pixels: Any) -> Any:
            return self.encoder((pixels - self.scaling[0]) / self.scaling[1]).last_hidden_state

    return Scaled().eval()


def dinov2() -> Any:
    """DINOv2's tokens, without the first of them that transformers gives again."""
    import torch
    import transformers

    class Tokens(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = transformers.Dinov2Config(
                num_hidden_layers=2, num_attention_heads=3, hidden_size=24, image_size=32, patch_size=8
            )
            self.model = transformers.Dinov2Model(config)

        def forward(self, pixels: Any) -> Any:
            return self.model(pixels).last_hidden_state

    return Tokens().eval()


def vae() -> Any:
    """The autoencoder of Stable Diffusion 3, which takes the mode of its distribution by default."""
    import diffusers

    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(32, 64), layers_per_block=1, latent_channels=4, use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()  # fmt: skip


def hub_vae() -> Any:
    """keras-hub exports the autoencoder only as a part of Stable Diffusion 3."""
    from keras_hub.src.models.vae.vae_backbone import VAEBackbone

    return VAEBackbone(
        encoder_num_filters=[32, 64], encoder_num_blocks=[1, 1], decoder_num_filters=[64, 32],
        decoder_num_blocks=[2, 2], sampler_method="mode", sample_channels=8,
    )  # fmt: skip


PAIRS: dict[str, PublicPair] = {
    "ViT": PublicPair(
        hub("ViTBackbone", **SMALL, image_shape=(32, 32, 3), patch_size=(8, 8), mlp_dim=40),
        hugging("ViTModel", "ViTConfig", {"add_pooling_layer": False}, **HF_SMALL, image_size=32, patch_size=8),
        picture(2, 32, 32, 3),
        **differ("layernorm-epsilon", why="ViTConfig: layer_norm_eps=1e-12; vit_backbone.py: 1e-6"),
    ),
    "DeiT": PublicPair(
        hub(
            "DeiTBackbone", **SMALL, image_shape=(32, 32, 3), patch_size=8, intermediate_dim=40,
            layer_norm_epsilon=1e-12,
        ),
        hugging("DeiTModel", "DeiTConfig", {"add_pooling_layer": False}, **HF_SMALL, image_size=32, patch_size=8),
        picture(2, 32, 32, 3),
    ),
    "Swin": PublicPair(
        hub(
            "SwinTransformerBackbone", image_shape=(64, 64, 3), embed_dim=12, depths=(2, 2), num_heads=(2, 3),
            window_size=4, patch_size=4,
        ),
        hugging(
            "SwinModel", "SwinConfig", {"add_pooling_layer": False}, image_size=64, patch_size=4, embed_dim=12,
            depths=[2, 2], num_heads=[2, 3], window_size=4,
        ),
        picture(2, 64, 64, 3),
    ),
    "MiT": PublicPair(
        hub(
            "MiTBackbone", layerwise_depths=[2, 1], num_layers=2, layerwise_num_heads=[1, 2],
            layerwise_sr_ratios=[4, 2], max_drop_path_rate=0.1, layerwise_patch_sizes=[7, 3],
            layerwise_strides=[4, 2], image_shape=(64, 64, 3), hidden_dims=[16, 24],
        ),
        hugging(
            "SegformerModel", "SegformerConfig", num_encoder_blocks=2, depths=[2, 1], num_attention_heads=[1, 2],
            sr_ratios=[4, 2], patch_sizes=[7, 3], strides=[4, 2], hidden_sizes=[16, 24], mlp_ratios=[4, 4],
        ),
        picture(2, 64, 64, 3),
        **differ(
            "layernorm-epsilon", "gelu-approximation",
            why="mit_layers.py: norm1 and norm2 at 1e-6, ops.nn.gelu by tanh; modeling_segformer.py: 1e-5, 'gelu'",
        ),
    ),
    "SAM's encoder": PublicPair(
        hub(
            "ViTDetBackbone", hidden_size=24, num_layers=3, intermediate_dim=40, num_heads=3,
            global_attention_layer_indices=[1], image_shape=(64, 64, 3), patch_size=8, num_output_channels=12,
            window_size=3,
        ),
        sam_encoder,
        picture(2, 64, 64, 3),
    ),
    "VAE": PublicPair(
        hub_vae,
        vae,
        picture(2, 24, 32, 3),
    ),
    "DINOv2": PublicPair(
        hub(
            "DINOV2Backbone", **SMALL, patch_size=8, intermediate_dim=96, image_shape=(32, 32, 3),
            position_embedding_shape=(32, 32), apply_layernorm=True,
        ),
        dinov2,
        picture(2, 32, 32, 3),
    ),
}  # fmt: skip
