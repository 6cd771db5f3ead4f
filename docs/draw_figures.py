"""Run the code of pages of the guide and save the figures that it draws: ``python docs/draw_figures.py``.

Figure 2 of the page forgetting.md becomes images/forgetting_2.png. Needs `skprune[plot]`.
"""

import re
from pathlib import Path

import matplotlib.pyplot as plt

DOCS = Path(__file__).parent
PAGES = ("user_guide/forgetting.md",)


def main():
    plt.switch_backend("Agg")
    for page in PAGES:
        file = DOCS / page
        names = {"__name__": file.stem}
        for code in re.findall(r"^```python\n(.*?)^```$", file.read_text(), flags=re.DOTALL | re.MULTILINE):
            exec(compile(code, str(file), "exec"), names)
        for number in plt.get_fignums():
            figure = plt.figure(number)
            figure.set_size_inches(6.4, 4)
            picture = DOCS / "images" / f"{file.stem}_{number}.png"
            figure.savefig(picture, dpi=120, metadata={"Software": None})
            print(picture)
        plt.close("all")


if __name__ == "__main__":
    main()
