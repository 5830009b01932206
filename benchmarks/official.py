"""The official network in PyTorch: `StableAudioDiTModel` of diffusers and the projections."""

from __future__ import annotations

import contextlib

import torch
from diffusers import StableAudioDiTModel
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from torch import nn

from benchmarks import networks
from vssflow_jax.common import process_pool
from vssflow_jax.models import alignment
from vssflow_jax.weights import vssflow_names


def projection(inputs: int, width: int) -> nn.Module:
    """Linear, SiLU, Linear, without biases."""
    return nn.Sequential(
        nn.Linear(inputs, 2 * width, bias=False),
        nn.SiLU(),
        nn.Linear(2 * width, width, bias=False),
    )


class NoGlobalCondition(nn.Module):
    """Zeros: the published network has no global condition beside the time."""

    def forward(self, x):
        """Zeros."""
        return torch.zeros_like(x)


class Official(nn.Module):
    """The joint route, with the state dict of the official code; see docs/equations.md.

    Args:
      config: a recipe whose route is "joint".
    """

    def __init__(self, config):
        super().__init__()
        ours, model = networks.build_model(config), config.model
        dit = ours.dit_config
        width = ours.conditioner_config.width
        self.cond_proj = projection(768, width("clip"))
        self.ref_proj = projection(256, width("speaker"))
        self.lip_proj = projection(1024, width("lips"))
        self.synch_proj = projection(768, width("sync"))
        self.phone_embedding = nn.Embedding(200, width("phonemes"))
        self.vaflow = StableAudioDiTModel(
            sample_size=250,
            in_channels=dit.channels,
            out_channels=dit.channels,
            num_layers=model.layers,
            attention_head_dim=model.head_dim,
            num_attention_heads=model.heads,
            num_key_value_attention_heads=model.kv_heads,
            cross_attention_dim=dit.context_width,
            cross_attention_input_dim=dit.context_width,
            time_proj_dim=model.time_features,
            global_states_input_dim=dit.width,
        )
        self.vaflow.cross_attention_proj = nn.Identity()
        self.vaflow.global_proj = NoGlobalCondition()
        self.length = networks.make_spec(config).latent_frames
        self.rotary = self.global_state = None  # set by `build_official`

    def condition(self, features) -> tuple[torch.Tensor, torch.Tensor]:
        """Concatenated conditions [B, Wc, L] and the context [B, 1 + L, Dc]."""
        length = self.length
        clip = features["clip"][:, alignment.nearest_indices(features["clip"].shape[1], length)]
        sync = features["sync"][
            :, alignment.nearest_exact_indices(features["sync"].shape[1], length)
        ]
        parts = (
            self.lip_proj(features["lips"]),
            self.phone_embedding(features["phonemes"]),
            self.synch_proj(sync),
        )
        speaker = self.ref_proj(features["speaker"])[:, None]
        context = torch.cat([speaker, self.cond_proj(clip)], dim=1)
        return torch.cat(parts, dim=-1).transpose(1, 2), context

    def velocity(self, x, t, concat, context) -> torch.Tensor:
        """Velocity of the latent [B, C, L]."""
        out = self.vaflow(
            torch.cat([x, concat], dim=1),
            t,
            encoder_hidden_states=context,
            global_hidden_states=self.global_state.expand(len(x), 1, -1),
            rotary_embedding=self.rotary,
            return_dict=False,
        )[0]
        return out[:, : x.shape[1]]

    def guided(self, x, t, concat, context, scale: float) -> torch.Tensor:
        """The guided velocity in two passes, like the official sampler."""
        with_conditions = self.velocity(x, t, concat, context)
        without = self.velocity(x, t, torch.zeros_like(concat), torch.zeros_like(context))
        return without + scale * (with_conditions - without)


def build_official(config) -> Official:
    """The network with random weights, on all cores."""
    torch.set_num_threads(process_pool.count_cores())
    with torch.device("meta"):
        network = Official(config)
    network.to_empty(device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if ".norm" in name and name.endswith("weight"):
                weight.fill_(1.0)
            else:
                weight.normal_(std=(1 / weight[0].numel()) ** 0.5 if weight.ndim > 1 else 0.1)
    network.vaflow.time_proj.weight.requires_grad_(False)
    network.rotary = get_1d_rotary_pos_embed(
        config.model.head_dim // 2,
        network.length + 1,
        use_real=True,
        repeat_interleave_real=False,
    )

    def add_rotary(_, args, kwargs):
        return args, {**kwargs, "rotary_emb": network.rotary}

    for block in network.vaflow.transformer_blocks:
        # The official blocks rotate these queries too; those of diffusers do not.
        block.attn2.register_forward_pre_hook(add_rotary, with_kwargs=True)
    network.global_state = torch.zeros(1, 1, config.model.heads * config.model.head_dim)
    return network


def load_params(network: Official, config, params) -> None:
    """Loads our parameters into the network, which has the official names."""
    state = vssflow_names.to_official(networks.build_model(config), params)
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()})


def to_tensors(tree: dict) -> dict:
    """NumPy arrays as tensors."""
    return {name: torch.from_numpy(array) for name, array in tree.items()}


def autocast(half: bool):
    """A context that computes in bfloat16 if `half`."""
    return torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext()
