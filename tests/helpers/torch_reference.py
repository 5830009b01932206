"""The published networks in PyTorch, written from their papers, as references for ours.

Each takes an official state dict (`tiny_encoders.random_official`) and uses standard layers of
torch where they exist: TransformerEncoderLayer, weight_norm, batch_norm, masks instead of groups.
They share no code with the package.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations


def run_network(kind, state, config, *inputs):
    """Output of a network in eval mode, as NumPy; `inputs` as for ours, except CNN14's wave."""
    state = {name: torch.tensor(array) for name, array in state.items()}
    with torch.no_grad():
        output = ENCODERS[kind](state, config, *map(torch.tensor, inputs))
    return output.contiguous().numpy()


def select_prefix(state, start):
    """The tensors whose names have a prefix, without it."""
    return {name[len(start) :]: array for name, array in state.items() if name.startswith(start)}


def load_module(module, state):
    """A module with these tensors, each used once, in eval mode."""
    module.load_state_dict(state)
    return module.eval()


def linear(x, state, name):
    return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def norm(x, state, name, eps):
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def batch_norm(x, state, name):
    kinds = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(state[f"{name}.{kind}"] for kind in kinds))


def transformer_layer(state, heads, hidden, activation, eps):
    """A pre-norm layer of torch with tensors under torch's own names."""
    width = state["norm1.weight"].shape[0]
    module = nn.TransformerEncoderLayer(
        width, heads, hidden, 0.0, activation, eps, batch_first=True, norm_first=True
    )
    return load_module(module, state)


def rename_tensors(state, pairs):
    """Tensors under torch's names: `pairs` of its modules' names and the official ones."""
    return {
        f"{ours}{tail}": array
        for ours, theirs in pairs.items()
        for tail, array in select_prefix(state, theirs).items()
    }


# ---- CLIP -----------------------------------------------------------------------------------

CLIP_LAYER = {
    "self_attn.": "attn.",
    "norm1.": "ln_1.",
    "norm2.": "ln_2.",
    "linear1.": "mlp.c_fc.",
    "linear2.": "mlp.c_proj.",
}


def clip(state, config, pixels):
    state = select_prefix(state, "visual.")
    x = F.conv2d(pixels.permute(0, 3, 1, 2), state["conv1.weight"], stride=config.patch)
    x = x.flatten(2).transpose(1, 2)
    token = state["class_embedding"].expand(len(x), 1, -1)
    x = torch.cat([token, x], 1) + state["positional_embedding"]
    x = norm(x, state, "ln_pre", 1e-5)
    for i in range(config.layers):
        own = rename_tensors(select_prefix(state, f"transformer.resblocks.{i}."), CLIP_LAYER)
        quick = lambda y: y * torch.sigmoid(1.702 * y)  # noqa: E731
        x = transformer_layer(own, config.heads, 4 * config.width, quick, 1e-5)(x)
    return x[:, 0]


# ---- Synchformer ----------------------------------------------------------------------------


def masked_attention(x, state, heads, mask):
    """Attention of all tokens to those that a mask lets them see."""
    query, key, value = linear(x, state, "qkv").chunk(3, -1)
    split = [y.unflatten(-1, (heads, -1)).transpose(1, 2) for y in (query, key, value)]
    mixed = F.scaled_dot_product_attention(*split, attn_mask=mask)
    return linear(mixed.transpose(1, 2).flatten(2), state, "proj")


def sync(state, config, frames):
    state = select_prefix(state, "vfeat_extractor.")
    cube = (2, config.patch, config.patch)
    projection = (state[f"patch_embed_3d.proj.{kind}"] for kind in ("weight", "bias"))
    x = F.conv3d(frames.permute(0, 4, 1, 2, 3), *projection, stride=cube)
    steps, places = x.shape[2], x.shape[3] * x.shape[4]
    x = x.flatten(2).transpose(1, 2)
    place = state["pos_embed"][:, 1:].repeat(1, steps, 1)
    moment = state["temp_embed"].repeat_interleave(places, 1)
    first = (state["cls_token"] + state["pos_embed"][:, :1]).expand(len(x), -1, -1)
    x = torch.cat([first, x + place + moment], 1)
    number = torch.arange(steps * places)

    def seen(group):
        mask = torch.ones(1 + len(group), 1 + len(group), dtype=torch.bool)
        mask[1:, 1:] = group[:, None] == group[None]
        return mask

    for i in range(config.layers):
        own = select_prefix(state, f"blocks.{i}.")
        for attention, before, group in (
            ("timeattn.", "norm3", number % places),
            ("attn.", "norm1", number // places),
        ):
            normed = norm(x, own, before, 1e-6)
            x = x + masked_attention(
                normed, select_prefix(own, attention), config.heads, seen(group)
            )
        hidden = F.gelu(linear(norm(x, own, "norm2", 1e-6), own, "mlp.fc1"))
        x = x + linear(hidden, own, "mlp.fc2")
    x = norm(x[:, 1:], state, "norm", 1e-6).unflatten(1, (steps, places)).flatten(0, 1)
    own = select_prefix(state, "spatial_attn_agg.")
    token = own.pop("cls_token").expand(len(x), -1, -1)
    pool = transformer_layer(own, config.heads, 4 * config.width, "gelu", 1e-6)
    return pool(torch.cat([token, x], 1))[:, 0].unflatten(0, (-1, steps))


# ---- AV-HuBERT ------------------------------------------------------------------------------


class BasicBlock(nn.Module):
    """Of ResNet-18, with learned slopes or without."""

    def __init__(self, before, width, stride, prelu):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.relu1, self.relu2 = (nn.PReLU(width) if prelu else nn.ReLU() for _ in range(2))
        self.downsample = None
        if stride > 1 or before != width:
            shortcut = nn.Conv2d(before, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(width))

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + (x if self.downsample is None else self.downsample(x)))


class Front(nn.Module):
    """The residual network over frames."""

    def __init__(self, widths, blocks, prelu):
        super().__init__()
        stem = nn.Conv3d(1, widths[0], (5, 7, 7), (1, 2, 2), (2, 3, 3), bias=False)
        slope = nn.PReLU(widths[0]) if prelu else nn.ReLU()
        pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.frontend3D = nn.Sequential(stem, nn.BatchNorm3d(widths[0]), slope, pool)
        self.trunk, before = nn.Module(), widths[0]
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            some = [BasicBlock(before, width, 2 if i else 1, prelu)]
            some += [BasicBlock(width, width, 1, prelu) for _ in range(count - 1)]
            self.trunk.add_module(f"layer{i + 1}", nn.Sequential(*some))
            before = width

    def forward(self, crops):
        x = self.frontend3D(crops[:, None])
        batch = len(x)
        x = x.transpose(1, 2).flatten(0, 1)
        for layer in self.trunk.children():
            x = layer(x)
        return x.mean((2, 3)).unflatten(0, (batch, -1))


def counted(module, state):
    """The state dict with the counters that torch keeps and files of tensors may leave out."""
    missing = module.state_dict().keys() - state.keys()
    assert all(name.endswith("num_batches_tracked") for name in missing), missing
    return state | {name: torch.tensor(0) for name in missing}


def position_conv(state, config):
    """The grouped convolution under weight norm."""
    conv = nn.Conv1d(
        config.width, config.width, config.reach, padding=config.reach // 2, groups=config.groups
    )
    conv = parametrizations.weight_norm(conv, dim=2)
    names = {"weight_g": "parametrizations.weight.original0", "bias": "bias"}
    names["weight_v"] = "parametrizations.weight.original1"
    return load_module(conv, {names[name]: array for name, array in state.items()})


def lips(state, config, crops):
    front = Front(config.widths, config.blocks, config.prelu)
    x = load_module(front, counted(front, select_prefix(state, "feature_extractor_video.resnet.")))(
        crops
    )
    x = linear(x, state, "feature_extractor_video.proj")
    x = norm(torch.cat([torch.zeros_like(x), x], -1), state, "layer_norm", 1e-5)
    x = linear(x, state, "post_extract_proj")
    wide = position_conv(select_prefix(state, "encoder.pos_conv.0."), config)(x.transpose(1, 2))
    x = x + F.gelu(wide[..., : x.shape[1]]).transpose(1, 2)
    for i in range(config.layers):
        official = select_prefix(state, f"encoder.layers.{i}.")
        own = rename_tensors(official, {
            "norm1.": "self_attn_layer_norm.", "norm2.": "final_layer_norm.",
            "linear1.": "fc1.", "linear2.": "fc2.",
            "self_attn.out_proj.": "self_attn.out_proj.",
        })  # fmt: skip
        for kind in ("weight", "bias"):
            parts = [official[f"self_attn.{name}_proj.{kind}"] for name in "qkv"]
            own[f"self_attn.in_proj_{kind}"] = torch.cat(parts)
        x = transformer_layer(own, config.heads, config.hidden, "gelu", 1e-5)(x)
    return norm(x, state, "encoder.layer_norm", 1e-5)


# ---- RawNet3 --------------------------------------------------------------------------------


def sinc_filters(state):
    """Band-pass impulse responses by their formula at every tap: [F, 1, K]."""
    low = 50 + state["low_hz_"].abs()
    high = (low + 50 + state["band_hz_"].abs()).clamp(50, 8000)
    late = -state["n_"].flip(1)  # radians a hertz after the middle
    envelope = state["window_"].flip(0)
    cosine = (2 * torch.sin(high * late) - 2 * torch.sin(low * late)) / late * envelope
    sine = (2 * torch.cos(high * late) - 2 * torch.cos(low * late)) / late * envelope
    middle = 2 * (high - low)
    even = torch.cat([cosine.flip(1), middle, cosine], 1)
    odd = torch.cat([-sine.flip(1), torch.zeros_like(middle), sine], 1)
    return (torch.cat([even, odd]) / torch.cat([middle, middle]))[:, None]


def bottleneck(x, state, slices, dilation, pool):
    """A block of Res2Net over time with a gate: [B, C, T]."""

    def conv(y, name, normed, **options):
        y = F.conv1d(y, state[f"{name}.weight"], state[f"{name}.bias"], **options)
        return batch_norm(F.relu(y), state, normed)

    parts = list(conv(x, "conv1", "bn1").chunk(slices, 1))
    for i in range(slices - 1):
        mixed = parts[i] if i == 0 else parts[i] + parts[i - 1]
        parts[i] = conv(mixed, f"convs.{i}", f"bns.{i}", padding=dilation, dilation=dilation)
    y = conv(torch.cat(parts, 1), "conv3", "bn3")
    shortcut = state.get("residual.0.weight")
    y = y + (x if shortcut is None else F.conv1d(x, shortcut))
    y = y if pool is None else F.max_pool1d(y, pool)
    gate = torch.sigmoid(linear(y.mean(2), state, "afms.fc"))
    return (y + state["afms.alpha"]) * gate[..., None]


def speaker(state, config, wave):
    x = F.pad(wave[:, None], (1, 0), "reflect")
    x = F.conv1d(x, state["preprocess.0.flipped_filter"])
    x = F.instance_norm(
        x, weight=state["preprocess.1.weight"], bias=state["preprocess.1.bias"], eps=1e-4
    )
    x = F.conv1d(x, sinc_filters(select_prefix(state, "conv1.filterbank.")), stride=config.stride)
    x = torch.log(x.abs() + 1e-6)
    x = x - x.mean(-1, keepdim=True)
    one = bottleneck(x, select_prefix(state, "layer1."), config.slices, 2, 5)
    two = bottleneck(one, select_prefix(state, "layer2."), config.slices, 3, 3)
    one = F.max_pool1d(one, 3)
    three = bottleneck(one + two, select_prefix(state, "layer3."), config.slices, 4, None)
    x = torch.cat([one, two, three], 1)
    x = F.relu(F.conv1d(x, state["layer4.weight"], state["layer4.bias"]))
    spread = x.var(2, keepdim=True).clamp(1e-4, 1e4).sqrt().expand_as(x)
    y = torch.cat([x, x.mean(2, keepdim=True).expand_as(x), spread], 1)
    y = F.relu(F.conv1d(y, state["attention.0.weight"], state["attention.0.bias"]))
    y = batch_norm(y, state, "attention.2")
    y = F.conv1d(y, state["attention.3.weight"], state["attention.3.bias"]).softmax(2)
    mean = (y * x).sum(2)
    deviation = ((y * x**2).sum(2) - mean**2).clamp(1e-4, 1e4).sqrt()
    x = batch_norm(torch.cat([mean, deviation], 1), state, "bn5")
    return linear(x, state, "fc6")


# ---- VGGish and CNN14 -------------------------------------------------------------------------


class Vgg(nn.Module):
    """Convolutions and linear layers in two sequences; M halves time and frequency."""

    def __init__(self, widths, hidden, width):
        super().__init__()
        layers, before = [], 1
        for number, channels in enumerate(widths):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if number in (0, 1, 3, 5) else []
            before = channels
        self.features = nn.Sequential(*layers)
        sizes = (6 * 4 * before, hidden, hidden)
        dense = [nn.Linear(a, b) for a, b in zip(sizes, (hidden, hidden, width), strict=True)]
        self.embeddings = nn.Sequential(dense[0], nn.ReLU(), dense[1], nn.ReLU(), dense[2])

    def forward(self, mel):
        return self.embeddings(self.features(mel[:, None]).permute(0, 2, 3, 1).flatten(1))


def vggish(state, config, mel):
    return load_module(Vgg(config.widths, config.hidden, config.width), state)(mel)


def cnn14(state, config, wave):
    """Features, then logits, of waves [B, n]."""
    spectrum = torch.stft(
        wave, config.window, config.window * 5 // 16, window=torch.hann_window(config.window),
        center=True, pad_mode="reflect", return_complex=True,
    )  # fmt: skip
    power = spectrum.abs().square().transpose(1, 2)
    mel = 10 * torch.log10((power @ state["logmel_extractor.melW"]).clamp(min=1e-10))
    x = batch_norm(mel.transpose(1, 2), state, "bn0").transpose(1, 2)[:, None]
    for i in range(1, 7):
        for k in (1, 2):
            x = F.conv2d(x, state[f"conv_block{i}.conv{k}.weight"], padding=1)
            x = F.relu(batch_norm(x, state, f"conv_block{i}.bn{k}"))
        x = F.avg_pool2d(x, 2) if i < 6 else x
    x = x.mean(3)
    features = F.relu(linear(x.amax(2) + x.mean(2), state, "fc1"))
    return torch.cat([features, linear(features, state, "fc_audioset")], 1)


ENCODERS = {
    "clip": clip,
    "sync": sync,
    "lips": lips,
    "speaker": speaker,
    "vggish": vggish,
    "cnn14": cnn14,
}
