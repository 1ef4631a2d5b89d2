"""Run the project on emulated Arm boards: `python tests/arm/run.py [--cpu a72] [--wheel dist/orilla-*.whl]`.

A real aarch64 Python runs under qemu on three emulated processors, with the aarch64 wheels of LiteRT, ONNX Runtime and
OpenCV, and with the project's own wheel. It runs `orilla doctor`, `orilla verify` on every shipped bundle, the contract
tests of the engines, and a benchmark over ssh. A 32-bit Python runs only `orilla doctor`. The test shows that the
wheels can be imported, that all operators exist, and that the results agree with those on x86-64 within the tolerance
of each bundle. It does not test speed.

The script needs `apt-get install qemu-user-static proot`, Debian or Ubuntu with access to packages of other
architectures, and 1 GB in build/arm. It takes about seven minutes, and eight minutes when it runs for the first time.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from helpers.sshd import SSHD, Server
from machine import MACHINES, dress

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
BUILD = PROJECT / "build" / "arm"
DEBIAN = ("libc6", "libc-bin", "python3", "libstdc++6", "libgomp1", "coreutils", "bash")
WHEELS = ("ai-edge-litert", "onnxruntime", "opencv-python-headless", "numpy", "msgspec", "rich", "pytest")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
BUNDLES = (
    "probe",
    # Each engine runs in a separate process, because qemu 7.2 sometimes crashes with two engines in one process.
    "road --variant litert_wi8_ai8",
    "road --variant onnx_wi8_ai8",
    "convnet",
    "mobilenet",
    "sentiment",
)
DIED = "qemu: uncaught target signal"
LIMIT_S = 300
"""Time limit for one command in seconds."""


def need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        sys.exit(f"test-arm: {', '.join(missing)} missing: sudo apt-get install qemu-user-static proot")


def make_root(arch: str) -> Path:
    """Create the root folder for an architecture if it does not exist, and return it."""
    root = BUILD / arch
    if not (root / "complete").exists():
        print(f"creating the root folder for {arch}", flush=True)
        subprocess.run(["sh", str(HERE / "root.sh"), arch, str(root), *DEBIAN], check=True)
        (root / "complete").touch()
    shell = root / "usr/bin/sh"
    if not shell.exists():
        shell.symlink_to("bash")
    return root


def install(root: Path, wheel: Path) -> None:
    """Install the packages and the current wheel. The packages are downloaded only once."""
    (python,) = sorted((root / "usr/bin").glob("python3.[0-9]*[0-9]"))[:1]
    site, wheels = root / "opt/site", BUILD / "wheels"
    if not (site / "complete").exists():
        platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
        command = [sys.executable, "-m", "pip", "download", "-qq", "-d", str(wheels), "--only-binary=:all:", *platforms]
        command += ["--python-version", python.name.removeprefix("python"), "--implementation", "cp", *WHEELS]
        subprocess.run(command, check=True)
        for file in wheels.glob("*.whl"):
            unpack(file, site)
        (site / "complete").touch()
    shutil.rmtree(site / "orilla", ignore_errors=True)
    for old in site.glob("orilla-*.dist-info"):
        shutil.rmtree(old)
    unpack(wheel, site)


def unpack(wheel: Path, site: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)


class Emulated:
    """A root folder for Arm programs, and the processor that qemu emulates for them."""

    def __init__(self, root: Path, qemu: str, cpu: str, engines: str = "") -> None:
        self._root, self._qemu, self._cpu, self._engines = root, qemu, cpu, engines

    def python(self, words: list[str], expects: str) -> tuple[bool, str, float]:
        """Run Python. Return whether it succeeded with the expected output, its output, and its duration in seconds.

        qemu 7.2 sometimes crashes, mostly with ONNX Runtime. The command is then repeated, at most twice, and a
        message is printed. The exit code of an emulated process does not always show that it crashed.
        """
        for _ in range(3):
            passed, said, seconds = self._once(words, expects)
            if DIED not in said:
                break
            print("  (the emulator crashed; trying again)", flush=True)
        return passed, said, seconds

    def _once(self, words: list[str], expects: str) -> tuple[bool, str, float]:
        command, environment = self._entered(), self._environment()
        command += ["/usr/bin/python3", "-u", *words]
        (self._root / "tmp").mkdir(exist_ok=True)
        began = time.monotonic()
        try:
            ended = subprocess.run(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False, f"still running after {LIMIT_S} s", LIMIT_S
        said = ended.stdout.strip()
        passed = ended.returncode == 0 and expects in said and DIED not in said
        return passed, said, time.monotonic() - began

    def bench_over_ssh(self, folder: Path) -> tuple[bool, str, float]:
        """Run `orilla bench run --host` on this machine. A real sshd starts each login in the root folder.

        Returns the same values as `python`.
        """
        variables = [f"{name}={value}" for name, value in (self._environment() | {"HOME": "/tmp/board"}).items()]
        (self._root / "tmp/board").mkdir(parents=True, exist_ok=True)
        command = shlex.join(["env", "-i", *variables, *self._entered(), "/bin/bash", "-c"])
        folder.mkdir()
        server = Server(folder, f'exec {command} "$SSH_ORIGINAL_COMMAND"')
        began = time.monotonic()
        try:
            ended = subprocess.run(
                [sys.executable, *ORILLA, "bench", "run", "mobilenet", "--host", "ssh://board", "--seconds", "2"],
                env={**os.environ, "ORILLA_SSH": f"ssh -F {server.config}"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
        finally:
            server.stop()
        return ended.returncode == 0 and "board" in ended.stdout, ended.stdout, time.monotonic() - began

    def _entered(self) -> list[str]:
        command = ["proot", "-q", self._qemu, "-0", "-r", str(self._root), "-b", "/dev", "-b", f"{PROJECT}:/project"]
        return [*command, "-w", "/project"]

    def _environment(self) -> dict[str, str]:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/tmp",
            "LANG": "C.UTF-8",
            "QEMU_CPU": self._cpu,
            "PYTHONPATH": "/opt/site:/opt/orilla.zip",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ORILLA_ENGINES": self._engines,
            "ORILLA_NO_TUNED": "1",
        }
        return environment | {name: os.environ[name] for name in ("PROOT_TMP_DIR", "TMPDIR") if name in os.environ}


def doctor_of_32_bits(root: Path, wheel: Path) -> tuple[bool, str, float]:
    """Run `orilla doctor` on a 32-bit Python. Return the same values as `Emulated.python`.

    Python imports the code from a zip file, because a 32-bit process under qemu cannot list the folders of a 64-bit
    file system. proot is not used, because some system calls of 32-bit programs would then reach the host's files.
    """
    archive = root / "opt/orilla"
    archive.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as unpacked:
        unpack(wheel, Path(unpacked))
        shutil.make_archive(str(archive), "zip", unpacked)
    (python,) = sorted((root / "usr/bin").glob("python3.[0-9]*[0-9]"))[:1]
    variables = {"PYTHONPATH": f"{archive}.zip", "PYTHONHOME": str(root / "usr"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["qemu-arm-static", "-cpu", "cortex-a15", "-L", str(root)]
    for name, value in variables.items():
        command += ["-E", f"{name}={value}"]
    began = time.monotonic()
    ended = subprocess.run(
        [*command, str(python), *DOCTOR, "--no-engines"], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    said = f"{ended.stdout}{ended.stderr}"
    return ended.returncode == 1 and "only tflite-runtime 2.14 has" in said, said, time.monotonic() - began


ORILLA = ["-m", "orilla.runtime.cli"]
DOCTOR = [*ORILLA, "doctor"]
JOBS = {
    "doctor": (DOCTOR, "ok   engine litert: ai_edge_litert"),
    **{f"verify {words}": ([*ORILLA, "verify", *words.split()], "verdict: pass") for words in BUNDLES},
    "contract": (["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract/test_engines.py"], " passed"),
}
"""Python commands with their expected outputs. The keys are the names."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", default=",".join(MACHINES), help="processors to emulate, separated by commas")
    parser.add_argument("--wheel", type=Path, help="wheel to test (default: the newest in dist/)")
    parser.add_argument("--no-32-bit", action="store_true", help="do not test on 32-bit Python")
    arguments = parser.parse_args()
    need("qemu-aarch64-static", "qemu-arm-static", "proot", "apt-get", "dpkg-deb")
    wheel = arguments.wheel or max(PROJECT.glob("dist/orilla-*.whl"), key=lambda path: path.stat().st_mtime)
    BUILD.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    root = make_root("arm64")
    install(root, wheel)
    failed = 0
    for name in arguments.cpu.split(","):
        machine = MACHINES[name]
        dress(root, machine)
        print(f"{machine.model} ({machine.qemu_cpu})", flush=True)
        emulated = Emulated(root, "qemu-aarch64-static", machine.qemu_cpu, machine.engines)
        for label, (words, expects) in JOBS.items():
            failed += not tell(label, *emulated.python(words, expects))
        if SSHD is None:
            print("  (sshd is not installed: the benchmark over ssh is skipped)", flush=True)
        else:
            with tempfile.TemporaryDirectory() as folder:
                failed += not tell("bench over ssh", *emulated.bench_over_ssh(Path(folder) / "sshd"))
    if not arguments.no_32_bit:
        print("32-bit Raspberry Pi OS (cortex-a72)", flush=True)
        small = make_root("armhf")
        dress(small, MACHINES["a72"])
        failed += not tell("doctor refuses", *doctor_of_32_bits(small, wheel))
    print(f"{time.monotonic() - began:.0f} s")
    print("passed" if not failed else f"{failed} failed")
    return 1 if failed else 0


def tell(label: str, passed: bool, said: str, seconds: float) -> bool:
    """Print one line. If the check failed, also print the last lines of its output."""
    lines = said.splitlines()
    last = next((line for line in reversed(lines) if "Accelerator" not in line and line.strip()), "")
    print(f"  {'ok  ' if passed else 'FAIL'} {label} ({seconds:.0f} s): {last[:110]}", flush=True)
    if not passed:
        print("\n".join(f"       {line}" for line in lines[-25:]), flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
