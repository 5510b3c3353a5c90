"""Reads the first sheet of a workbook with openpyxl, and prints what it found as JSON.

    read_workbook.py FILE

    {"names": ["amount", "day"], "rows": [[["n", "12.5"], ["d", "2026-02-01T00:00:00"]]], "formats": ["0.00##", "yyyy-mm-dd"],
     "look": {"frozen": "A2", "filter": "A1:B2", "bold": true}}

A value has openpyxl's letter of its type before it: n is a number or an empty cell, s a text, b a boolean, d a date or a time, f a formula. `formats` are those of the first
row of values.
"""

import json
import sys

import openpyxl


def value(cell):
    if cell.value is None:
        return [cell.data_type, None]
    return [cell.data_type, cell.value.isoformat() if cell.is_date else str(cell.value)]


def main():
    (file,) = sys.argv[1:]
    sheet = openpyxl.load_workbook(file).worksheets[0]
    names, *rows = sheet.iter_rows()
    found = {
        "names": [cell.value for cell in names],
        "rows": [[value(cell) for cell in row] for row in rows],
        "formats": [cell.number_format for cell in rows[0]] if rows else [],
        "look": {
            "frozen": sheet.freeze_panes,
            "filter": sheet.auto_filter.ref,
            "bold": all(cell.font.bold for cell in names),
        },
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
