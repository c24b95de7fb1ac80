#!/usr/bin/python3
"""Write a classifier as TorchScript or ONNX, with the weights it starts from.

The small network reads tensors of any size from 8x8 on: three of its four convolutions halve the picture, and the last
feature maps are averaged whatever their size. The linear one reads 24x24 and refuses all else. The torchvision networks start
from random weights too; with --calibrate their batch norm knows what these make of noise, without which an untrained network
gives about the same scores for all pictures, and their residual branches count less, without which one as deep as
EfficientNet makes other scores of a rounding error. With --two-valued each weight keeps its sign alone, at one size a layer, so
that the file can be compressed.
"""
import argparse

import torch
from torch import nn


TORCHVISION_NETS = ("efficientnet_b3", "mobilenet_v3_small", "resnet18", "resnet50", "shufflenet_v2_x1_0")


def small_cnn(classes: int) -> nn.Module:
    layers = []
    inputs = 3
    for outputs, stride in ((16, 1), (32, 2), (64, 2), (128, 2)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def linear(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, classes))


def torchvision_net(name: str, classes: int) -> nn.Module:
    import torchvision

    return getattr(torchvision.models, name)(weights=None, num_classes=classes)


RESIDUAL_WEIGHT = 0.3


def last_norms_of_residuals(net: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch norms right before each addition of torchvision's networks."""
    blocks = list(net.modules())
    resnet = [block.bn3 if hasattr(block, "bn3") else block.bn2 for block in blocks if hasattr(block, "downsample")]
    inverted = [block.block[-1][1] for block in blocks if getattr(block, "use_res_connect", False)]
    return resnet + inverted


@torch.no_grad()
def calibrate(net: nn.Module) -> None:
    for norm in last_norms_of_residuals(net):
        norm.weight.fill_(RESIDUAL_WEIGHT)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the mean of all batches
    net.train()
    for edge in (24, 82):  # what it has not seen the like of makes an untrained network explode
        for scale in (0.5, 2, 8):
            net(scale * (torch.randn(8, 3, 1, 1) + torch.randn(8, 3, edge, edge)))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum


@torch.no_grad()
def reduce_to_two_values(net: nn.Module) -> None:
    for weight in net.parameters():
        if weight.dim() > 1:
            weight.copy_(torch.where(weight < 0, -weight.std(), weight.std()))


def as_torchscript(net: nn.Module, form: str) -> torch.jit.ScriptModule:
    """'script' can be trained; 'trace' keeps batch norm in evaluation mode; 'frozen' has no parameters left."""
    if form == "script":
        return torch.jit.script(net.train())
    net.eval()
    if form == "trace":
        return torch.jit.trace(net, torch.zeros(2, 3, 64, 64))
    return torch.jit.freeze(torch.jit.script(net))


def save_onnx(net: nn.Module, out: str) -> None:
    axes = {"image": {0: "images", 2: "height", 3: "width"}, "scores": {0: "images"}}
    torch.onnx.export(net.eval(), torch.zeros(2, 3, 64, 64), out, opset_version=14, input_names=["image"],
                      output_names=["scores"], dynamic_axes=axes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--net", choices=("small-cnn", "linear", *TORCHVISION_NETS), default="small-cnn")
    parser.add_argument("--as", dest="form", choices=("script", "trace", "frozen", "onnx"), default="script")
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--two-valued", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.classes < 1:
        parser.error("--classes must be at least 1")

    torch.manual_seed(options.seed)
    own = {"small-cnn": small_cnn, "linear": linear}
    net = own[options.net](options.classes) if options.net in own else torchvision_net(options.net, options.classes)
    if options.two_valued:
        reduce_to_two_values(net)
    if options.calibrate:
        calibrate(net)
    if options.form == "onnx":
        save_onnx(net, options.out)
    else:
        as_torchscript(net, options.form).save(options.out)


if __name__ == "__main__":
    main()
