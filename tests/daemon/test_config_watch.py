from __future__ import annotations

from pathlib import Path

import structlog
import yaml

from autoscaler.daemon.config_watch import ConfigWatch
from autoscaler.settings import Config, load_config, read_config
from tests.test_settings import document, write


class Watched:
    """A watch and what it told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.configs: list[Config] = []
        self.problems: list[int] = []
        """How many, at each reading."""
        self.watch = ConfigWatch(
            path,
            config=load_config(path),
            changed=self.configs.append,
            problems=lambda lines: self.problems.append(len(lines)),
        )

    @property
    def maxima(self) -> list[int]:
        return [config.resources[0].spec.max_replicas for config in self.configs]


async def test_nothing_is_said_of_a_file_that_stays(tmp_path):
    watched = Watched(write(tmp_path, document()))
    await watched.watch.look()
    await watched.watch.look()
    assert (watched.configs, watched.problems) == ([], [])


async def test_a_change_that_is_valid_is_used(tmp_path):
    watched = Watched(write(tmp_path, document()))
    write(tmp_path, document(maxReplicas=20))
    await watched.watch.look()
    await watched.watch.look()
    assert (watched.maxima, watched.problems) == ([20], [0])


async def test_a_change_of_comments_only_changes_nothing(tmp_path):
    watched = Watched(write(tmp_path, document()))
    watched.path.write_text("# said otherwise\n" + watched.path.read_text())
    await watched.watch.look()
    assert (watched.configs, watched.problems) == ([], [0])


async def test_a_change_with_problems_is_refused_and_told_once_until_it_is_mended(tmp_path):
    watched = Watched(write(tmp_path, document()))
    with structlog.testing.capture_logs() as logs:
        write(tmp_path, document(maxReplicas=0, minReplicas="x"))
        await watched.watch.look()
        watched.path.touch()
        await watched.watch.look()
    (said,) = [each for each in logs if each["event"] == "spec.rejected"]
    assert len(said["problems"]) == 2
    assert "spec.maxReplicas: found 0; write at least 1" in said["problems"][1]
    assert watched.configs == []
    write(tmp_path, document(maxReplicas=12))
    await watched.watch.look()
    assert watched.maxima == [12]
    assert watched.problems == [2, 2, 0]


async def test_a_refused_document_that_is_taken_away_makes_the_fleet_whole(tmp_path):
    good, other = document(), document(maxReplicas=0)
    other["metadata"]["name"] = "other"
    path = write(tmp_path, good)
    path.write_text(yaml.safe_dump_all([good, other]))
    configs: list[Config] = []
    first = read_config(path)
    watch = ConfigWatch(path, config=first, changed=configs.append, problems=lambda _: None)
    assert not first.complete
    path.write_text(yaml.safe_dump(good))
    await watch.look()
    assert [(config.resources, config.complete) for config in configs] == [(first.resources, True)]


async def test_mending_it_back_to_what_is_used_changes_nothing_but_the_problems(tmp_path):
    watched = Watched(write(tmp_path, document()))
    write(tmp_path, "a: [")
    await watched.watch.look()
    write(tmp_path, document())
    await watched.watch.look()
    assert (watched.configs, watched.problems) == ([], [1, 0])


async def test_a_file_that_is_deleted_leaves_the_last_configuration_in_use(tmp_path):
    watched = Watched(write(tmp_path, document()))
    watched.path.unlink()
    await watched.watch.look()
    assert (watched.configs, watched.problems) == ([], [1])
    write(tmp_path, document(maxReplicas=11))
    await watched.watch.look()
    assert watched.maxima == [11]


async def test_a_config_map_is_turned_to_a_new_folder(tmp_path):
    """The kubelet writes a new folder and renames the link `..data` over the old one."""

    def publish(version: str, **spec) -> None:
        (tmp_path / version).mkdir()
        write(tmp_path / version, document(**spec))
        (tmp_path / "..tmp").symlink_to(version)
        (tmp_path / "..tmp").replace(tmp_path / "..data")

    publish("..v1")
    (tmp_path / "config.yaml").symlink_to("..data/config.yaml")
    for path in (tmp_path, tmp_path / "config.yaml"):
        watched = Watched(path)
        publish(f"..v2-{path.name}", maxReplicas=20 + len(path.name))
        await watched.watch.look()
        assert watched.maxima == [20 + len(path.name)]


async def test_a_file_that_joins_a_folder_is_read(tmp_path):
    write(tmp_path, document(), name="a.yaml")
    watched = Watched(tmp_path)
    other = document(pools=[{"name": "main", "scaleTargetRef": {"name": "other"}}])
    other["metadata"]["name"] = "other"
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(other))
    await watched.watch.look()
    assert [r.key for r in watched.configs[0].resources] == ["serving/llama", "serving/other"]
