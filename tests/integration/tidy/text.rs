//! Rust text without its comments and strings, and the strings by themselves.

/// A literal string and the line that it begins in, from 1.
pub(super) struct Literal {
    pub(super) line: usize,
    pub(super) text: String,
}

/// The code with blanks for comments and literals, line for line, and all literal strings.
pub(super) fn split(text: &str) -> (String, Vec<Literal>) {
    let mut scanner = Scanner {
        rest: text.chars().collect(),
        at: 0,
        line: 1,
        code: String::with_capacity(text.len()),
        literals: Vec::new(),
    };
    while scanner.at < scanner.rest.len() {
        scanner.token();
    }
    (scanner.code, scanner.literals)
}

struct Scanner {
    rest: Vec<char>,
    at: usize,
    line: usize,
    code: String,
    literals: Vec<Literal>,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> char {
        self.rest.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// Goes over one character, which stays in the code or leaves a blank.
    fn step(&mut self, stays: bool) -> char {
        let found = self.peek(0);
        self.at += 1;
        self.line += usize::from(found == '\n');
        let shown = if stays || found == '\n' { found } else { ' ' };
        self.code.push(shown);
        found
    }

    fn token(&mut self) {
        let is_name = |character: char| character.is_alphanumeric() || character == '_';
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => self.while_true(|scanner| scanner.peek(0) != '\n'),
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(0),
            ('\'', '\\') => self.character(),
            ('\'', _) if self.peek(2) == '\'' => self.character(),
            ('r', '"' | '#') if self.is_raw() => {
                self.step(true);
                let hashes = (0..).take_while(|&ahead| self.peek(ahead) == '#').count();
                (0..hashes).for_each(|_| _ = self.step(false));
                self.string(hashes.max(1));
            }
            (character, _) if is_name(character) => {
                // A name may end in r: what follows is no raw string.
                while is_name(self.peek(0)) && !self.is_raw_start() {
                    self.step(true);
                }
                if self.is_raw_start() {
                    self.token();
                }
            }
            _ => _ = self.step(true),
        }
    }

    fn is_raw_start(&self) -> bool {
        self.peek(0) == 'r' && matches!(self.peek(1), '"' | '#') && self.is_raw()
    }

    /// Whether what is here begins a raw string: r, hashes, a quote, after nothing or a b.
    fn is_raw(&self) -> bool {
        let hashes = (1..).take_while(|&ahead| self.peek(ahead) == '#').count();
        let before = self.at.checked_sub(1).and_then(|at| self.rest.get(at));
        let is_word = before.is_some_and(|before| before.is_alphanumeric() && *before != 'b');
        self.peek(hashes + 1) == '"' && !is_word && before != Some(&'_')
    }

    fn while_true(&mut self, goes_on: impl Fn(&Self) -> bool) {
        while self.at < self.rest.len() && goes_on(self) {
            self.step(false);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                ('\0', _) => return,
                _ => {
                    self.step(false);
                    continue;
                }
            }
            self.step(false);
            self.step(false);
            if depth == 0 {
                return;
            }
        }
    }

    fn character(&mut self) {
        self.step(false);
        if self.peek(0) == '\\' {
            self.step(false);
            self.step(false);
            self.while_true(|scanner| scanner.peek(0) != '\'');
        } else {
            self.step(false);
        }
        self.step(false);
    }

    /// A string, with escapes if `hashes` is 0; else it ends in a quote and hashes, of which a raw
    /// string without any counts as having one that is not there.
    fn string(&mut self, hashes: usize) {
        let line = self.line;
        let wanted = if hashes > 0 && self.at > 0 && self.rest.get(self.at - 1) == Some(&'#') {
            hashes
        } else {
            0
        };
        self.step(false);
        let mut text = String::new();
        while self.at < self.rest.len() {
            let found = self.peek(0);
            if found == '\\' && hashes == 0 {
                text.push(self.step(false));
                text.push(self.step(false));
                continue;
            }
            let ends = (1..=wanted).all(|ahead| self.peek(ahead) == '#');
            self.step(false);
            if found == '"' && ends {
                (0..wanted).for_each(|_| _ = self.step(false));
                break;
            }
            text.push(found);
        }
        self.literals.push(Literal { line, text });
    }
}
