"""The colors of the book, by their role."""

# seaborn's "colorblind" palette by the role that a color has in the whole book.
METHOD, CONTROL, REDRAWN, GOOD, PURPLE, SKY, BROWN = (
    "#0173b2", "#949494", "#de8f05", "#029e73", "#cc78bc", "#56b4e9", "#ca9161")
PALETTE = (METHOD, REDRAWN, GOOD, PURPLE, SKY, BROWN, CONTROL)
CONTROLS = ("#5f5f5f", "#8a8a8a", "#ababab", "#777777")     # where several are told apart
INK, PAPER, FAINT = "#222222", "#ffffff", "#eef2f5"
DARK, GRAY = "#333333", "#808080"     # lines of reference; what an explorer shows beside
