#!/usr/bin/env python3
"""Holds a run of the conformance suite against what has matched before.

    conformance.py RESULT.json

Every scenario listed in conformance-matching.txt has to match. Scenarios that match and are not listed are named,
so that they can be added.
"""
import json
import pathlib
import sys


def main():
    report = json.loads(pathlib.Path(sys.argv[1]).read_text())
    listed = (pathlib.Path(__file__).parent / 'conformance-matching.txt').read_text().split()
    fallen = [name for name in listed if not report.get(name, {}).get('match')]
    new = [name for name, result in report.items() if result['match'] and name not in listed]
    for name in fallen:
        print(f'fallen back: {name}')
        print('\n'.join('    ' + line for line in report.get(name, {}).get('diff', ['not run'])))
    if new:
        print('match as well, and are not listed:', *new)
    matching = sum(result['match'] for result in report.values())
    print(f'conformance: {matching} of {len(report)} scenarios match, {len(fallen)} of {len(listed)} fell back')
    return 1 if fallen else 0


if __name__ == '__main__':
    sys.exit(main())
