"""Error bars by range of a term: do 90 % bands hold the truth at contact, on flanks, at the foot of walls, in tails?"""


def main() -> None:
    """All systems."""
    from tests.studies.inference.local_coverage import study

    study.main()
