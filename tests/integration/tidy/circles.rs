//! Files that import each other, by the paths in their code. What a file imports from the one that
//! holds it (`super::Thing`) is left out.

use super::Source;
use super::text::split;
use std::collections::{BTreeMap, BTreeSet};

pub(super) type Graph = BTreeMap<String, BTreeSet<String>>;

/// Each circle that is left without the arrows that are allowed, which are written as
/// `folder/from → folder/to`; named by its files in order.
pub(super) fn circles(sources: &[Source], allowed: &[&str]) -> Vec<(String, String)> {
    let mut circles = Vec::new();
    for folder in ["src/", "imaging/src/", "partition/src/"] {
        let mut graph = graph(sources, folder);
        for (from, edges) in &mut graph {
            let arrow = |to: &String| format!("{folder}{from} → {folder}{to}");
            edges.retain(|to| !allowed.contains(&arrow(to).as_str()));
        }
        for group in groups(&graph) {
            let names: Vec<String> = group.iter().map(|name| format!("{folder}{name}")).collect();
            let name = names.join(" ");
            let arrows = arrows(&graph, &group);
            circles.push((name.clone(), format!("{name}\n    {arrows}")));
        }
    }
    circles
}

/// What each module of a folder imports, but for what holds it.
pub(super) fn graph(sources: &[Source], folder: &str) -> Graph {
    let is_of = |source: &&Source| source.path.starts_with(folder) && source.is_production();
    let module = |source: &Source| {
        source.path[folder.len()..]
            .trim_end_matches(".rs")
            .to_owned()
    };
    let modules: BTreeSet<String> = sources.iter().filter(is_of).map(module).collect();
    let mut graph = Graph::new();
    for source in sources.iter().filter(is_of) {
        let from = module(source);
        let (code, _) = split(source.production_text());
        let mut found = paths(&code, &["crate", "super", "self"]);
        for child in children(&code) {
            found.extend(paths(&code, &[&child]));
        }
        let edges = found
            .into_iter()
            .filter_map(|path| resolve(&from, &path, &modules))
            .filter(|to| *to != from && !is_above(to, &from))
            .collect();
        graph.insert(from, edges);
    }
    graph
}

/// Whether one module holds the other.
fn is_above(above: &str, below: &str) -> bool {
    let is_root = above == "lib" || above == "main";
    is_root || below.starts_with(above) && below[above.len()..].starts_with('/')
}

/// The modules that a file holds.
fn children(code: &str) -> Vec<String> {
    let declared = code.lines().filter_map(|line| {
        let line = line
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ");
        line.strip_prefix("mod ")?.strip_suffix(';')
    });
    declared.map(str::to_owned).collect()
}

/// All paths that begin with one of those names, with what braces hold told apart.
fn paths(code: &str, starts: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in starts {
        for (at, _) in code.match_indices(&format!("{start}::")) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            expand(&code[at..], &mut Vec::new(), &mut found);
        }
    }
    found
}

/// Adds the paths that `code` begins with; what is behind the last of them.
fn expand<'a>(code: &'a str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let depth = prefix.len();
    let mut rest = code;
    loop {
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') && !rest.is_empty() {
                rest = expand(rest.trim_start(), prefix, found).trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            }
            rest = rest.strip_prefix('}').unwrap_or(rest);
            break;
        }
        let is_name = |character: char| character.is_alphanumeric() || character == '_';
        let len = rest
            .find(|character| !is_name(character))
            .unwrap_or(rest.len());
        if len == 0 {
            found.push(prefix.clone());
            // Whatever this is, it is gone over.
            rest = rest.get(1..).unwrap_or_default();
            break;
        }
        prefix.push(rest[..len].to_owned());
        rest = &rest[len..];
        match rest.strip_prefix("::") {
            Some(more) => rest = more,
            None => {
                found.push(prefix.clone());
                rest = behind_alias(rest);
                break;
            }
        }
    }
    prefix.truncate(depth);
    rest
}

/// What is behind `as name`, if that follows.
fn behind_alias(rest: &str) -> &str {
    let Some(alias) = rest.trim_start().strip_prefix("as ") else {
        return rest;
    };
    alias.trim_start_matches(|character: char| character.is_alphanumeric() || character == '_')
}

/// The module that a path from `from` leads to, or into.
fn resolve(from: &str, path: &[String], modules: &BTreeSet<String>) -> Option<String> {
    let mut at: Vec<&str> = match (path.first()?.as_str(), from) {
        ("crate", _) | (_, "lib" | "main") => Vec::new(),
        _ => from.split('/').collect(),
    };
    let mut names = path.iter().map(String::as_str).peekable();
    names.next_if(|name| matches!(*name, "crate" | "self"));
    while names.next_if(|name| *name == "super").is_some() {
        at.pop();
    }
    for name in names {
        let mut next = at.clone();
        next.push(name);
        if !modules.contains(&next.join("/")) {
            break;
        }
        at = next;
    }
    Some(at.join("/")).filter(|module| modules.contains(module))
}

/// The sets of modules that reach each other.
fn groups(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = graph
        .keys()
        .map(|from| (from, reached(graph, from)))
        .collect();
    let mut groups = BTreeSet::new();
    for (from, reached) in &reach {
        let is_mutual = |to: &&&String| reach[**to].contains(*from);
        let group: BTreeSet<String> = reached
            .iter()
            .filter(is_mutual)
            .map(|to| (*to).clone())
            .collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    groups.into_iter().collect()
}

fn reached<'a>(graph: &'a Graph, from: &str) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut pending: Vec<&String> = graph[from].iter().collect();
    while let Some(to) = pending.pop() {
        if found.insert(to) {
            pending.extend(&graph[to]);
        }
    }
    found
}

fn arrows(graph: &Graph, group: &BTreeSet<String>) -> String {
    let mut arrows = Vec::new();
    for from in group {
        for to in graph[from].intersection(group) {
            arrows.push(format!("{from} → {to}"));
        }
    }
    arrows.join(", ")
}
