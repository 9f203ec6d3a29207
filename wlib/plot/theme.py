"""The colors of the book, by their role."""

# seaborn's "colorblind" palette by the role that a color has in the whole book.
METHOD, CONTROL, REDRAWN, GOOD, PURPLE, SKY = (
    "#0173b2", "#949494", "#de8f05", "#029e73", "#cc78bc", "#56b4e9")
INK, PAPER, FAINT = "#222222", "#ffffff", "#eef2f5"
