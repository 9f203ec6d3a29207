"""The classes of CIFAR-FS: which of CIFAR-100's hundred are for learning, choosing and judging.

64 / 16 / 20 classes, as drawn by Bertinetto et al., "Meta-learning with differentiable closed-form
solvers" (arXiv 1805.08136). The names are those of CIFAR-100's own file.
"""

CLASSES = {
    "train": tuple("""
        apple aquarium_fish bear bee bottle bowl boy bridge bus can castle caterpillar chair clock
        cloud cockroach couch cup dinosaur dolphin elephant forest girl hamster house kangaroo
        keyboard lawn_mower lion lizard lobster mountain mouse mushroom oak_tree orange orchid
        palm_tree pear pine_tree plate porcupine possum rabbit raccoon ray road seal shrew skunk
        skyscraper snake spider squirrel streetcar sunflower tank tiger train trout tulip turtle
        willow_tree wolf""".split()),
    "validation": tuple("""
        beaver beetle butterfly camel cattle crab crocodile flatfish lamp maple_tree motorcycle
        otter sea shark television tractor""".split()),
    "test": tuple("""
        baby bed bicycle chimpanzee fox leopard man pickup_truck plain poppy rocket rose snail
        sweet_pepper table telephone wardrobe whale woman worm""".split()),
}
