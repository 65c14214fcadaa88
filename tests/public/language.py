"""Language models of keras-hub against transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.public.pair import Inputs, PublicPair, differ, ids, padding

WORDS = 67
GATE = differ("float32-cast", why="keras-hub takes the SiLU of the gate in float32, transformers does not")
"""What parts keras-hub's Llama, Mistral and Qwen from those of transformers."""
SMALL: dict[str, Any] = {
    "vocabulary_size": WORDS, "num_layers": 2, "num_heads": 3, "hidden_dim": 24, "intermediate_dim": 40,
}  # fmt: skip
HF_SMALL: dict[str, Any] = {
    "vocab_size": WORDS, "num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 24, "intermediate_size": 40,
}  # fmt: skip
GROUPED: dict[str, Any] = {
    "vocabulary_size": WORDS, "num_layers": 2, "num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 32,
    "intermediate_dim": 40,
}  # fmt: skip
HF_GROUPED: dict[str, Any] = {
    "vocab_size": WORDS, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "hidden_size": 32, "intermediate_size": 40, "max_position_embeddings": 64, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def hub(name: str, **settings: Any) -> Callable[[], Any]:
    """Builds a backbone of keras-hub."""

    def build() -> Any:
        import keras_hub

        return getattr(keras_hub.models, name)(**settings)

    return build


def hugging(
    name: str, config: str, keywords: dict[str, Any] | None = None, **settings: Any
) -> Callable[[], Any]:
    """Builds a model of transformers from its configuration; `keywords` go to the model."""

    def build() -> Any:
        import transformers

        return getattr(transformers, name)(getattr(transformers, config)(**settings), **keywords or {}).eval()

    return build


def tokens(**further: Any) -> Callable[[], Inputs]:
    """Two rows of tokens and their padding mask."""
    return lambda: {"token_ids": ids(2, 13, 3, WORDS), "padding_mask": padding(2, 13), **further}


def pairs_of_tokens() -> Inputs:
    """What a model of encoder and decoder takes."""
    return {
        "encoder_token_ids": ids(2, 13, 3, WORDS), "encoder_padding_mask": padding(2, 13),
        "decoder_token_ids": ids(2, 11, 3, WORDS, seed=1), "decoder_padding_mask": padding(2, 11),
    }  # fmt: skip


def spoken() -> Inputs:
    """What Whisper takes: a spectrogram of the full length, and tokens."""
    features = np.random.default_rng(0).standard_normal((2, 40, 8)).astype(np.float32)
    return {
        "encoder_features": features,
        "decoder_token_ids": ids(2, 11, 3, WORDS),
        "decoder_padding_mask": padding(2, 11),
    }


def mistral() -> Any:
    """With its head, whose matrix keras-hub keeps in the embedding."""
    import keras_hub

    backbone = keras_hub.models.MistralBackbone(**GROUPED, sliding_window=6)
    return keras_hub.models.MistralCausalLM(backbone, preprocessor=None)


SEGMENTS = ids(2, 13, 0, 2, seed=2)
DECODER: dict[str, Any] = {
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}

PAIRS: dict[str, PublicPair] = {
    "BERT": PublicPair(
        hub("BertBackbone", **SMALL, max_sequence_length=32),
        hugging("BertModel", "BertConfig", **HF_SMALL, max_position_embeddings=32),
        tokens(segment_ids=SEGMENTS),
        **differ("gelu-approximation", why="bert_backbone.py: gelu_approximate; BertConfig: hidden_act='gelu'"),
    ),
    "RoBERTa": PublicPair(
        hub("RobertaBackbone", **SMALL, max_sequence_length=32),
        hugging(
            "RobertaModel", "RobertaConfig", {"add_pooling_layer": False}, **HF_SMALL, max_position_embeddings=34,
            type_vocab_size=1, layer_norm_eps=1e-5,
        ),
        lambda: {"token_ids": ids(2, 13, 3, WORDS), "padding_mask": np.ones((2, 13), np.int32)},
    ),
    "DistilBERT": PublicPair(
        hub("DistilBertBackbone", **SMALL, max_sequence_length=32),
        hugging(
            "DistilBertModel", "DistilBertConfig", vocab_size=WORDS, n_layers=2, n_heads=3, dim=24, hidden_dim=40,
            max_position_embeddings=32,
        ),
        tokens(),
    ),
    "ALBERT": PublicPair(
        hub("AlbertBackbone", **SMALL, embedding_dim=16, max_sequence_length=32),
        hugging("AlbertModel", "AlbertConfig", **HF_SMALL, embedding_size=16, max_position_embeddings=32),
        tokens(segment_ids=SEGMENTS),
    ),
    "GPT-2": PublicPair(
        hub("GPT2Backbone", **{**SMALL, "intermediate_dim": 96}, max_sequence_length=32),
        hugging("GPT2Model", "GPT2Config", vocab_size=WORDS, n_layer=2, n_head=3, n_embd=24, n_positions=32),
        tokens(),
    ),
    "GPT-NeoX": PublicPair(
        hub("GPTNeoXBackbone", **{**SMALL, "hidden_dim": 48}, rotary_percentage=0.25, max_sequence_length=32),
        hugging(
            "GPTNeoXModel", "GPTNeoXConfig", **{**HF_SMALL, "hidden_size": 48}, max_position_embeddings=32,
            hidden_act="gelu_new",
        ),
        tokens(),
    ),
    "Llama": PublicPair(
        hub("LlamaBackbone", **GROUPED),
        hugging("LlamaModel", "LlamaConfig", **HF_GROUPED),
        tokens(),
        **GATE,
    ),
    "Mistral": PublicPair(
        mistral,
        hugging("MistralForCausalLM", "MistralConfig", **HF_GROUPED, sliding_window=6),
        tokens(),
        **GATE,
    ),
    "Qwen2": PublicPair(
        hub("QwenBackbone", **GROUPED),
        hugging("Qwen2Model", "Qwen2Config", **HF_GROUPED),
        tokens(),
        **GATE,
    ),
    "BART": PublicPair(
        hub("BartBackbone", **SMALL, max_sequence_length=32),
        hugging(
            "BartModel", "BartConfig", vocab_size=WORDS, d_model=24, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=3, decoder_attention_heads=3, encoder_ffn_dim=40, decoder_ffn_dim=40,
            max_position_embeddings=32, **DECODER,
        ),
        pairs_of_tokens,
    ),
    "T5": PublicPair(
        hub("T5Backbone", **SMALL, use_gated_activation=False),
        hugging(
            "T5Model", "T5Config", vocab_size=WORDS, d_model=24, d_kv=8, d_ff=40, num_layers=2, num_heads=3,
            feed_forward_proj="relu", decoder_start_token_id=0,
        ),
        pairs_of_tokens,
        **differ("float32-cast", why="T5LayerNorm of transformers squares in float32, that of keras-hub does not"),
    ),
    "Whisper": PublicPair(
        hub("WhisperBackbone", **SMALL, num_mels=8, max_encoder_sequence_length=40, max_decoder_sequence_length=32),
        hugging(
            "WhisperModel", "WhisperConfig", vocab_size=WORDS, d_model=24, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=3, decoder_attention_heads=3, encoder_ffn_dim=40, decoder_ffn_dim=40,
            num_mel_bins=8, max_source_positions=20, max_target_positions=32, **DECODER,
        ),
        spoken,
    ),
}  # fmt: skip
