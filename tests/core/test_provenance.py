"""What is recorded of the machine."""

from pathlib import Path

import torch

from doamlib.core import provenance

CPU = torch.device("cpu")


def test_the_processor_is_told_apart_from_others_of_its_name(monkeypatch):
    says = {"model name": "AMD EPYC", "cpu family": "25", "model": "17"}
    monkeypatch.setattr(provenance, "cpu_says", lambda name: says.get(name, ""))
    assert provenance.record(CPU)["hardware"]["cpu"] == "AMD EPYC (family 25, model 17)"
    del says["model"]
    assert provenance.record(CPU)["hardware"]["cpu"] == "AMD EPYC"


def test_fields_of_cpuinfo_are_read_by_their_whole_name(monkeypatch):
    text = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nflags\t\t: a avx512_bf16\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert provenance.cpu_says("model") == "17" and provenance.cpu_says("model name") == "AMD EPYC"
    assert provenance.cpu_says("flags").split() == ["a", "avx512_bf16"]
    assert provenance.cpu_says("cpu family") == ""
