"""A table of what was played, what went wrong in it, and the count as the last line."""

ORDER = ("ok", "FAILED", "skipped")


def print_table(columns):
    """Columns are head -> {scenario: (outcome, reason)}; returns how many failed."""
    scenarios = list(dict.fromkeys(name for each in columns.values() for name in each))
    print("|".join(["", " scenario ", *(f" {head} " for head in columns), ""]))
    print("|".join(["", "---", *("---" for _ in columns), ""]))
    for scenario in scenarios:
        cells = [each.get(scenario, ("-", ""))[0] for each in columns.values()]
        print("|".join(["", f" {scenario} ", *(f" {cell} " for cell in cells), ""]))

    reasons = {}  # the same reason for a whole column is told once
    for head, each in columns.items():
        for scenario, (outcome, reason) in each.items():
            if outcome != "ok":
                reasons.setdefault((outcome, head, reason), []).append(scenario)
    if reasons:
        print()
    for (outcome, head, reason), names in reasons.items():
        which = "everything" if len(names) == len(columns[head]) > 1 else ", ".join(names)
        print(f"- {outcome}: {head}, {which}: {reason}")

    outcomes = [outcome for each in columns.values() for outcome, _ in each.values()]
    passed, failed, skipped = map(outcomes.count, ORDER)
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return failed
