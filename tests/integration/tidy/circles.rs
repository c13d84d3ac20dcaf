//! Files that import each other, by the paths in their code. A path through a re-export counts for the
//! file that has the thing. What a file imports from the one that holds it (`super::Thing`) is left out.

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
    let code = |source: &Source| split(source.production_text()).0;
    let code: BTreeMap<String, String> = sources
        .iter()
        .filter(is_of)
        .map(|source| (module(source), code(source)))
        .collect();
    let modules = code.iter().map(|(name, code)| (name.clone(), names(code)));
    let modules: Modules = modules.collect();
    let mut graph = Graph::new();
    for (from, code) in &code {
        let mut found = paths(code, &["crate", "super", "self"]);
        for child in children(code) {
            found.extend(paths(code, &[&child]));
        }
        let edges = found
            .into_iter()
            .filter_map(|path| resolve(from, &path, &modules))
            .filter(|to| to != from && !is_above(to, from))
            .collect();
        graph.insert(from.clone(), edges);
    }
    graph
}

/// The modules of a crate, each with the names that it has from elsewhere and where those come from.
type Modules = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// The names that a module has by `use`, for others or for itself and what it holds.
fn names(code: &str) -> BTreeMap<String, Vec<String>> {
    let mut names = BTreeMap::new();
    for (at, _) in code.match_indices("use ") {
        let line_start = code[..at].rfind('\n').map_or(0, |before| before + 1);
        if !behind_visibility(&code[line_start..at]).trim().is_empty() {
            continue;
        }
        let mut found = Vec::new();
        expand(&code[at + "use ".len()..], &mut Vec::new(), &mut found);
        for Named { name, path } in found {
            names.insert(name, path);
        }
    }
    names
}

/// Whether one module holds the other.
fn is_above(above: &str, below: &str) -> bool {
    let is_root = above == "lib" || above == "main";
    is_root || below.starts_with(above) && below[above.len()..].starts_with('/')
}

/// The modules that a file holds.
fn children(code: &str) -> Vec<String> {
    let declared = code.lines().filter_map(|line| {
        let line = behind_visibility(line).trim_start();
        line.strip_prefix("mod ")?.strip_suffix(';')
    });
    declared.map(str::to_owned).collect()
}

/// What is behind `pub`, `pub(super)` and the like, if that stands there.
fn behind_visibility(line: &str) -> &str {
    let line = line.trim_start();
    match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')').map_or(rest, |(_, rest)| rest),
        Some(rest) if rest.starts_with(' ') => rest,
        _ => line,
    }
}

/// A path, and the name that a `use` of it gives.
struct Named {
    name: String,
    path: Vec<String>,
}

impl Named {
    fn new(path: &[String], alias: &str) -> Self {
        let last = path.iter().rfind(|name| *name != "self");
        let name = match alias {
            "" => last.cloned().unwrap_or_default(),
            alias => alias.to_owned(),
        };
        let path = path.to_vec();
        Self { name, path }
    }
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
    found.into_iter().map(|named| named.path).collect()
}

/// Adds the paths that `code` begins with; what is behind the last of them.
fn expand<'a>(code: &'a str, prefix: &mut Vec<String>, found: &mut Vec<Named>) -> &'a str {
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
            found.push(Named::new(prefix, ""));
            // Whatever this is, it is gone over.
            rest = rest.get(1..).unwrap_or_default();
            break;
        }
        prefix.push(rest[..len].to_owned());
        rest = &rest[len..];
        match rest.strip_prefix("::") {
            Some(more) => rest = more,
            None => {
                let alias;
                (alias, rest) = alias_of(rest);
                found.push(Named::new(prefix, alias));
                break;
            }
        }
    }
    prefix.truncate(depth);
    rest
}

/// The name in `as name`, if that follows, and what is behind it.
fn alias_of(rest: &str) -> (&str, &str) {
    let Some(alias) = rest.trim_start().strip_prefix("as ") else {
        return ("", rest);
    };
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    let end = alias.find(|character| !is_name(character));
    alias.split_at(end.unwrap_or(alias.len()))
}

/// The module that has what a path from `from` names, or that the path ends in.
fn resolve(from: &str, path: &[String], modules: &Modules) -> Option<String> {
    let (mut from, mut path) = (from.to_owned(), path.to_vec());
    // A name that leads round in a circle would be no program.
    for _ in 0..16 {
        let (module, rest) = step(&from, &path, modules)?;
        let Some(origin) = rest.first().and_then(|name| modules[&module].get(name)) else {
            return Some(module);
        };
        let next: Vec<String> = origin.iter().chain(&rest[1..]).cloned().collect();
        // What comes from another crate, or a type of this file, leads no further.
        let leads = step(&module, &next, modules).is_some_and(|(to, _)| to != module)
            || matches!(next.first()?.as_str(), "crate" | "super" | "self");
        if !leads {
            return Some(module);
        }
        (from, path) = (module, next);
    }
    None
}

/// How far a path from `from` goes by modules, and the names that are left of it.
fn step(from: &str, path: &[String], modules: &Modules) -> Option<(String, Vec<String>)> {
    let mut at: Vec<&str> = match (path.first()?.as_str(), from) {
        ("crate", _) | (_, "lib" | "main") => Vec::new(),
        _ => from.split('/').collect(),
    };
    let mut names = path.iter().map(String::as_str).peekable();
    names.next_if(|name| matches!(*name, "crate" | "self"));
    while names.next_if(|name| *name == "super").is_some() {
        at.pop();
    }
    while let Some(name) = names.peek() {
        let mut next = at.clone();
        next.push(name);
        if !modules.contains_key(&next.join("/")) {
            break;
        }
        at = next;
        names.next();
    }
    let rest = names.map(str::to_owned).collect();
    let module = match at.as_slice() {
        [] => ["lib", "main"]
            .into_iter()
            .find(|root| modules.contains_key(*root))?
            .to_owned(),
        at => at.join("/"),
    };
    modules.contains_key(&module).then_some((module, rest))
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
