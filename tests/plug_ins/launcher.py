"""A launcher in one file: it runs the last job first."""

from weit_rl.comparison.launchers import JobResults, Jobs, JobSettings, Launcher


def work(jobs: Jobs, settings: JobSettings, backwards: bool | int = 1) -> JobResults:
    """Run all jobs in this process."""
    for name in list(jobs)[:: -1 if backwards else 1]:
        function, arguments = jobs[name]
        yield name, function(*arguments)


MEMBER = Launcher(work)
