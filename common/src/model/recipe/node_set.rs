//! Small numbers for nodes, and sets of them.

use std::fmt;

/// A node of one revision of a recipe type: its position in the order of creation. The same for every process and
/// every run, since it follows from the definition alone. Other revisions number their nodes differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeIndex(pub(super) u16);

impl NodeIndex {
    /// The number, as tables hold it. A recipe type has at most [`MAX_NODES`](super::MAX_NODES) nodes.
    pub const fn number(self) -> i16 {
        // Below MAX_NODES, so below i16::MAX.
        self.0.cast_signed()
    }

    /// The node with a number that a table holds; none for a negative one. Whether a graph has it, only the graph knows.
    pub fn from_number(number: i16) -> Option<Self> {
        u16::try_from(number).ok().map(Self)
    }

    pub(super) const fn at(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of nodes of one graph.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSet {
    words: Vec<u64>,
}

impl NodeSet {
    /// Adds a node; false when it was there.
    pub fn insert(&mut self, node: NodeIndex) -> bool {
        let (word, bit) = (node.at() / 64, 1 << (node.at() % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        fresh
    }

    /// Whether a node is in it.
    pub fn contains(&self, node: NodeIndex) -> bool {
        self.words.get(node.at() / 64).is_some_and(|word| word & (1 << (node.at() % 64)) != 0)
    }

    /// Adds every node of another set.
    pub fn union(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// Whether there is a node in both.
    pub fn intersects(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(word, other)| word & other != 0)
    }

    /// Whether there is no node in it.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// How many nodes are in it.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The nodes, in their order.
    pub fn iter(&self) -> impl Iterator<Item = NodeIndex> + '_ {
        self.words.iter().zip(0_u16..).flat_map(|(word, at)| {
            let word = *word;
            (0..64_u16).filter(move |bit| word & (1 << bit) != 0).map(move |bit| NodeIndex(at * 64 + bit))
        })
    }
}

impl FromIterator<NodeIndex> for NodeSet {
    fn from_iter<T: IntoIterator<Item = NodeIndex>>(nodes: T) -> Self {
        let mut set = Self::default();
        for node in nodes {
            set.insert(node);
        }
        set
    }
}
