//! The order of nodes: parents before children, and by name among those that could go next. Finds what is in a circle.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::definition::RecipeDefinition;
use super::finding::MAX_FINDINGS;

/// A definition's nodes by position of their names; dependencies that do not exist are left out.
#[derive(Debug)]
pub(super) struct Order<'a> {
    /// Every node's name, sorted.
    pub names: Vec<&'a str>,
    /// Parents before children. Lacks the nodes of circles and what is behind them.
    pub sorted: Vec<usize>,
    /// Circles, each beginning with the name that is first, which does not stand at the end again. No node is in two
    /// of them; at most [`MAX_FINDINGS`].
    pub circles: Vec<Vec<usize>>,
}

impl<'a> Order<'a> {
    pub fn of(definition: &'a RecipeDefinition) -> Self {
        let names: Vec<&str> = definition.nodes.keys().map(String::as_str).collect();
        let position: BTreeMap<&str, usize> =
            names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
        let parents: Vec<Vec<usize>> = definition
            .nodes
            .values()
            .map(|node| {
                node.dependencies.keys().filter_map(|name| position.get(name.as_str()).copied()).collect()
            })
            .collect();
        let mut walk = Walk::new(&parents);
        let ready = (0..names.len()).filter(|node| parents[*node].is_empty()).collect();
        let sorted = walk.remove(ready);
        let mut circles = Vec::new();
        while circles.len() < MAX_FINDINGS
            && let Some(circle) = walk.circle(&parents)
        {
            // Without it, more may be free of circles; what was behind it is not told as one.
            walk.remove(circle.clone());
            circles.push(circle);
        }
        Self { names, sorted, circles }
    }
}

/// Nodes that are left, and how many parents each still has among them.
struct Walk {
    left: Vec<bool>,
    waiting: Vec<usize>,
    children: Vec<Vec<usize>>,
}

impl Walk {
    fn new(parents: &[Vec<usize>]) -> Self {
        let mut children = vec![Vec::new(); parents.len()];
        for (node, parents) in parents.iter().enumerate() {
            for parent in parents {
                children[*parent].push(node);
            }
        }
        Self { left: vec![true; parents.len()], waiting: parents.iter().map(Vec::len).collect(), children }
    }

    /// Removes these nodes and whatever then has no parent left; smallest first.
    fn remove(&mut self, nodes: Vec<usize>) -> Vec<usize> {
        let mut open: BinaryHeap<Reverse<usize>> = nodes.into_iter().map(Reverse).collect();
        let mut removed = Vec::new();
        while let Some(Reverse(node)) = open.pop() {
            if !std::mem::replace(&mut self.left[node], false) {
                continue;
            }
            removed.push(node);
            for child in &self.children[node] {
                self.waiting[*child] -= 1;
                if self.waiting[*child] == 0 {
                    open.push(Reverse(*child));
                }
            }
        }
        removed
    }

    /// A circle among the nodes that are left. Each of them has a parent that is left, so that a walk upwards must
    /// come back.
    fn circle(&self, parents: &[Vec<usize>]) -> Option<Vec<usize>> {
        let mut node = self.left.iter().position(|left| *left)?;
        let mut seen_at = vec![usize::MAX; parents.len()];
        let mut path = Vec::new();
        while seen_at[node] == usize::MAX {
            seen_at[node] = path.len();
            path.push(node);
            node = parents[node].iter().copied().find(|parent| self.left[*parent])?;
        }
        let mut circle = path.split_off(seen_at[node]);
        // From parents to children.
        circle.reverse();
        let first = circle.iter().enumerate().min_by_key(|(_, node)| **node).map_or(0, |(at, _)| at);
        circle.rotate_left(first);
        Some(circle)
    }
}
