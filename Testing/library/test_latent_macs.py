"""How the work of distilled latent super-resolution is counted, of its student and of its teacher."""

from __future__ import annotations

import torch

from LowFieldEnhanceLib.methods.latent_macs import head_macs, slice_macs, without_weights
from LowFieldEnhanceLib.networks.registry import build_network
from LowFieldEnhanceLib.training import latent_autoencoder, latent_student, latent_teacher


def test_the_student_does_less_work_than_the_teacher_in_every_step_and_in_the_whole_head() -> None:
    with torch.device("meta"):
        autoencoder = build_network(latent_autoencoder.ARCHITECTURE)
        teacher = build_network(latent_teacher.ARCHITECTURE)
        student = build_network(latent_student.ARCHITECTURE)
    of_teacher, of_student = (slice_macs(autoencoder, n, 192, 160) for n in (teacher, student))
    assert of_student["step"] * 1.8 < of_teacher["step"]
    head = (147, 181, 149)
    assert head_macs(autoencoder, student, head, 1) * 20 < head_macs(autoencoder, teacher, head, 50)
    assert of_student["condition"] < of_teacher["condition"]
    assert of_student["encode"] == of_teacher["encode"] and of_student["decode"] == of_teacher["decode"]
    shape = (40, 48, 32)
    once = head_macs(autoencoder, student, shape, 1)
    slices = [(40, 48, 32), (48, 40, 32), (32, 40, 48)]
    total = 0
    for count, height, width in slices:
        parts = slice_macs(autoencoder, student, height, width)
        total += count * sum(parts.values())
    assert once == total
    assert head_macs(autoencoder, student, shape, 4) - once == 3 * sum(
        count * slice_macs(autoencoder, student, height, width)["step"] for count, height, width in slices
    )


def test_the_work_is_counted_on_the_layers_alone() -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        architecture = build_network(latent_student.ARCHITECTURE)
    network = build_network(latent_student.ARCHITECTURE)
    empty = without_weights(network)
    assert all(tensor.is_meta for tensor in (*empty.parameters(), *empty.buffers()))
    assert not any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))
    assert {k: v.shape for k, v in empty.state_dict().items()} == {k: v.shape for k, v in network.state_dict().items()}
    with torch.device("meta"):
        autoencoder = build_network(latent_autoencoder.ARCHITECTURE)
    assert slice_macs(autoencoder, network, 32, 48) == slice_macs(autoencoder, architecture, 32, 48)
