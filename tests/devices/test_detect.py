from orilla.devices.detect import available_cores, detect, loop_threads


def write(root, cpuinfo, meminfo):
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(cpuinfo)
    (root / "proc/meminfo").write_text(meminfo)
    return root


def test_a_raspberry_pi_is_named_by_its_board(tmp_path):
    cpuinfo = "processor\t: 0\nBogoMIPS\t: 108.00\n\nRevision\t: d04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"
    machine = detect(write(tmp_path, cpuinfo, "MemTotal:        8245712 kB\nMemFree: 1 kB\n"))
    assert machine.cpu == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.memory_mib == 8052


def test_a_pc_is_named_by_its_processor(tmp_path):
    machine = detect(write(tmp_path, "model name\t: AMD EPYC\n", "MemTotal: 1048576 kB\n"))
    assert (machine.cpu, machine.memory_mib) == ("AMD EPYC", 1024)


def test_an_unknown_system_is_no_error(tmp_path):
    assert detect(tmp_path).memory_mib == 0


def test_a_core_is_left_to_the_loop():
    assert 1 <= loop_threads() <= 4
    assert loop_threads() < available_cores() or available_cores() == 1
