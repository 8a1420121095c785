"""What the released transformers of OPPO and DTR ask of the package `transformers`, and no more.

Their GPT-2 and BERT are in their own folders; the package only lends them base classes, a layer and
words for their documentation. Version 4.5, which they want, does not go with today's torch.
"""

import logging
import types
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MASKED = -10_000.0


class Outputs:
    """Fields under their names, and those that are not None in their order."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            return self.__dict__[key]
        return [value for value in self.__dict__.values() if value is not None][key]


class Model(nn.Module):
    """Parameters that are initialised by the subclass's own rule, and masks."""

    def __init__(self, config: Any, *_: Any, **__: Any) -> None:
        super().__init__()
        self.config = config

    @property
    def dtype(self) -> torch.dtype:
        """Type of the parameters."""
        return next(self.parameters()).dtype

    def init_weights(self) -> None:
        """Initialise every module."""
        self.apply(self._init_weights)

    def get_head_mask(self, _: None, num_layers: int) -> list[None]:
        """Return no mask for each layer."""
        return [None] * num_layers

    def get_extended_attention_mask(self, mask: Tensor, *_: Any) -> Tensor:
        """Return what is added to the logits."""
        return (1.0 - mask[:, None, None, :].to(self.dtype)) * MASKED


class Conv1D(nn.Module):
    """A linear layer whose weight is `[in, out]`."""

    def __init__(self, num_outputs: int, num_inputs: int) -> None:
        super().__init__()
        self.nf = num_outputs
        self.weight = nn.Parameter(0.02 * torch.randn(num_inputs, num_outputs))
        self.bias = nn.Parameter(torch.zeros(num_outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the layer to the last axis."""
        flat = torch.addmm(self.bias, inputs.view(-1, inputs.shape[-1]), self.weight)
        return flat.view(*inputs.shape[:-1], self.nf)


def gpt2_config(**given: Any) -> types.SimpleNamespace:
    """Return GPT-2's defaults, changed."""
    defaults = _COMMON | {
        "n_positions": 1024,
        "n_ctx": 1024,
        "n_inner": None,
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.1,
        "layer_norm_epsilon": 1e-5,
    }
    return types.SimpleNamespace(**(defaults | given))


def bert_config(**given: Any) -> types.SimpleNamespace:
    """Return BERT's defaults, changed."""
    defaults = _COMMON | {
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "position_embedding_type": "absolute",
        "chunk_size_feed_forward": 0,
    }
    return types.SimpleNamespace(**(defaults | given))


_COMMON = {
    "initializer_range": 0.02,
    "add_cross_attention": False,
    "is_decoder": False,
    "output_attentions": False,
    "output_hidden_states": False,
    "use_cache": True,
    "use_return_dict": True,
    "gradient_checkpointing": False,
}


def _undecorated(*_: Any, **__: Any) -> Callable[[Any], Any]:
    return lambda decorated: decorated


def _whole(function: Callable[..., Any], _: int, __: int, *tensors: Tensor) -> Any:
    return function(*tensors)


class _Module(types.ModuleType):
    """A module in which any name that is not there is an empty class of models' outputs."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def modules() -> dict[str, types.ModuleType]:
    """Return the modules under the names that they are imported by."""
    found = {
        "": {"GPT2Config": gpt2_config, "BertConfig": bert_config},
        "activations": {"ACT2FN": {"relu": F.relu}},
        "file_utils": {
            name: _undecorated
            for name in (
                "add_code_sample_docstrings",
                "add_start_docstrings",
                "add_start_docstrings_to_model_forward",
                "replace_return_docstrings",
            )
        },
        "modeling_outputs": {
            "BaseModelOutputWithPastAndCrossAttentions": Outputs,
            "BaseModelOutputWithPoolingAndCrossAttentions": Outputs,
        },
        "modeling_utils": {
            "PreTrainedModel": Model,
            "Conv1D": Conv1D,
            "apply_chunking_to_forward": _whole,
        },
        "utils": {"logging": types.SimpleNamespace(get_logger=logging.getLogger)},
        "utils.model_parallel_utils": {},
        "models": {},
        "models.gpt2": {},
        "models.gpt2.configuration_gpt2": {},
        "models.bert": {},
        "models.bert.configuration_bert": {},
    }
    made = {}
    for name, attributes in found.items():
        path = f"transformers.{name}" if name else "transformers"
        made[path] = _Module(path)
        made[path].__dict__.update(attributes)
        made[path].__path__ = []
    return made
