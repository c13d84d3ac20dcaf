//! The handshake: a client learns what there is, and says what it will read and how.

use super::option::{self, ClientOption, ContextQueries, InfoRequest, OptionHeader};
use super::transmit::{Selected, Session, Told};
use super::{Connection, OPTIONS_MAX, PAYLOAD_BYTES_MAX, violation};
use crate::nbd::{
    ACK, BASE_ALLOCATION, FIXED_NEWSTYLE, INFO, INFO_EXPORT, META_CONTEXT, NO_ZEROES, OPTION_MAGIC,
    REPLY_MAGIC, SERVER, SERVER_MAGIC,
};
use crate::serve::export::{Export, Exports};
use std::io;
use std::sync::Arc;

const ERR_UNSUP: u32 = (1 << 31) + 1;
const ERR_INVALID: u32 = (1 << 31) + 3;
const ERR_UNKNOWN: u32 = (1 << 31) + 6;
const ERR_TOO_BIG: u32 = (1 << 31) + 9;

const INFO_NAME: u16 = 1;
const INFO_DESCRIPTION: u16 = 2;
const INFO_BLOCK_SIZE: u16 = 3;

/// Transmission flags: there are some, read-only, several connections see the same.
const READ_ONLY_MULTI: u16 = 1 << 0 | 1 << 1 | 1 << 8;
/// Reads can be asked for in one piece.
const SEND_DF: u16 = 1 << 7;

/// Queries in one option, and contexts at once.
const QUERIES_MAX: usize = 64;
const CONTEXTS_MAX: usize = 16;

/// Agrees with a client on what it reads; `None` when it leaves.
pub(super) fn negotiate(
    client: &mut impl Connection,
    exports: &dyn Exports,
) -> io::Result<Option<Session>> {
    let mut hello = SERVER_MAGIC.to_be_bytes().to_vec();
    hello.extend(OPTION_MAGIC.to_be_bytes());
    hello.extend((FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes());
    client.write_all(&hello)?;
    let mut flags = [0; 4];
    client.read_exact(&mut flags)?;
    let flags = u32::from_be_bytes(flags);
    if flags & !u32::from(FIXED_NEWSTYLE | NO_ZEROES) != 0 {
        return Err(violation(format!("unknown client flags {flags:#x}")));
    }
    let mut talk = Talk {
        exports,
        has_no_zeroes: flags & u32::from(NO_ZEROES) != 0,
        is_structured: false,
        opened: None,
        selected: None,
        out: Vec::new(),
    };
    for _ in 0..OPTIONS_MAX {
        let next = talk.option(client)?;
        client.write_all(&talk.out)?;
        talk.out.clear();
        match next {
            Next::Option => {}
            Next::Leave => return Ok(None),
            Next::Read(export) => return Ok(Some(talk.session(export))),
        }
    }
    Err(violation("too many options"))
}

/// What follows an option.
enum Next {
    Option,
    Leave,
    Read(Arc<Export>),
}

/// What was agreed on so far.
struct Talk<'a> {
    exports: &'a dyn Exports,
    has_no_zeroes: bool,
    is_structured: bool,
    /// The export that was opened last, and its name.
    opened: Option<(String, Arc<Export>)>,
    /// What will be told of the extents of the export of that name.
    selected: Option<(String, Vec<Selected>)>,
    /// Answers.
    out: Vec<u8>,
}

impl Talk<'_> {
    fn option(&mut self, client: &mut impl Connection) -> io::Result<Next> {
        let mut head = [0; OptionHeader::LEN];
        client.read_exact(&mut head)?;
        let header = OptionHeader::parse(&head).ok_or_else(|| violation("no option"))?;
        let option = header.option;
        if !header.is_bounded() {
            self.refuse(option, ERR_TOO_BIG, "the option is too long");
            return Ok(Next::Leave);
        }
        let mut data = vec![0; header.len_bytes as usize];
        client.read_exact(&mut data)?;
        let Some(parsed) = ClientOption::parse(option, &data) else {
            if option == option::EXPORT_NAME {
                return Err(violation("a name that is no text"));
            }
            self.refuse(option, ERR_INVALID, "the option's data makes no sense");
            return Ok(Next::Option);
        };
        match parsed {
            ClientOption::ExportName(name) => return self.export_name(name),
            ClientOption::Abort => {
                self.reply(option, ACK, &[]);
                return Ok(Next::Leave);
            }
            ClientOption::Info(info) => drop(self.info(option, &info)),
            ClientOption::Go(info) => {
                if let Some(export) = self.info(option, &info) {
                    return Ok(Next::Read(export));
                }
            }
            ClientOption::List => self.list(option),
            ClientOption::StructuredReply => {
                self.is_structured = true;
                self.reply(option, ACK, &[]);
            }
            ClientOption::ListMetaContext(queries) => self.list_contexts(option, &queries),
            ClientOption::SetMetaContext(queries) => self.set_contexts(option, &queries),
            ClientOption::Unknown => self.refuse(option, ERR_UNSUP, "the option is not known"),
        }
        Ok(Next::Option)
    }

    fn reply(&mut self, option: u32, kind: u32, data: &[u8]) {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        self.out.extend(REPLY_MAGIC.to_be_bytes());
        for field in [option, kind, len] {
            self.out.extend(field.to_be_bytes());
        }
        self.out.extend(data);
    }

    fn refuse(&mut self, option: u32, kind: u32, reason: &str) {
        let reason = &reason[..reason.floor_char_boundary(1000)];
        self.reply(option, kind, reason.as_bytes());
    }

    /// Opens an export, or says why not.
    fn open(&mut self, name: &str) -> Result<Arc<Export>, String> {
        if let Some((_, export)) = self.opened.as_ref().filter(|opened| opened.0 == name) {
            return Ok(Arc::clone(export));
        }
        match self.exports.open(name) {
            Ok(Some(export)) => {
                self.opened = Some((name.to_owned(), Arc::clone(&export)));
                Ok(export)
            }
            Ok(None) => Err(format!("there is no export {name:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    const fn transmission_flags(&self) -> u16 {
        match self.is_structured {
            true => READ_ONLY_MULTI | SEND_DF,
            false => READ_ONLY_MULTI,
        }
    }

    /// The old way to choose an export, which knows no refusal.
    fn export_name(&mut self, name: &str) -> io::Result<Next> {
        let export = self.open(name).map_err(violation)?;
        self.out.extend(export.size_bytes().to_be_bytes());
        self.out.extend(self.transmission_flags().to_be_bytes());
        if !self.has_no_zeroes {
            self.out.extend([0; 124]);
        }
        Ok(Next::Read(export))
    }

    fn info(&mut self, option: u32, info: &InfoRequest<'_>) -> Option<Arc<Export>> {
        let export = match self.open(info.name) {
            Ok(export) => export,
            Err(reason) => {
                self.refuse(option, ERR_UNKNOWN, &reason);
                return None;
            }
        };
        let mut item = |number: u16, data: &[u8]| {
            self.reply(option, INFO, &[&number.to_be_bytes(), data].concat());
        };
        if info.items.contains(&INFO_NAME) {
            item(INFO_NAME, export.listing.name.as_bytes());
        }
        if info.items.contains(&INFO_DESCRIPTION) {
            item(INFO_DESCRIPTION, export.listing.description.as_bytes());
        }
        if info.items.contains(&INFO_BLOCK_SIZE) {
            let sizes = [1, 4096, PAYLOAD_BYTES_MAX].map(u32::to_be_bytes);
            item(INFO_BLOCK_SIZE, sizes.as_flattened());
        }
        let mut data = export.size_bytes().to_be_bytes().to_vec();
        data.extend(self.transmission_flags().to_be_bytes());
        self.reply(
            option,
            INFO,
            &[&INFO_EXPORT.to_be_bytes(), &data[..]].concat(),
        );
        self.reply(option, ACK, &[]);
        Some(export)
    }

    fn list(&mut self, option: u32) {
        for listing in self.exports.list() {
            let name = listing.name.as_bytes();
            let mut data = u32::try_from(name.len())
                .unwrap_or(0)
                .to_be_bytes()
                .to_vec();
            data.extend(name);
            data.extend(listing.description.as_bytes());
            self.reply(option, SERVER, &data);
        }
        self.reply(option, ACK, &[]);
    }

    fn list_contexts(&mut self, option: u32, asked: &ContextQueries<'_>) {
        let Some(export) = self.queried(option, asked) else {
            return;
        };
        let names = std::iter::once(BASE_ALLOCATION.to_owned());
        for name in names.chain(self.exports.contexts(&export)) {
            let is_meant = |query: &&str| {
                // Without a leaf it stands for all that begin so.
                name == **query || query.ends_with(':') && name.starts_with(*query)
            };
            if asked.queries.is_empty() || asked.queries.iter().any(is_meant) {
                let data = [&[0; 4], name.as_bytes()].concat();
                self.reply(option, META_CONTEXT, &data);
            }
        }
        self.reply(option, ACK, &[]);
    }

    fn set_contexts(&mut self, option: u32, asked: &ContextQueries<'_>) {
        self.selected = None;
        if !self.is_structured {
            return self.refuse(option, ERR_INVALID, "structured replies come first");
        }
        let Some(export) = self.queried(option, asked) else {
            return;
        };
        let mut names: Vec<&str> = Vec::new();
        let mut selected = Vec::new();
        for query in &asked.queries {
            let told = match *query {
                BASE_ALLOCATION => Ok(Some(Told::Allocation)),
                query => {
                    let context = self.exports.open_context(&export, query);
                    context.map(|context| context.map(Told::Context))
                }
            };
            match told {
                Ok(Some(told)) if !names.contains(query) => {
                    names.push(query);
                    let number = u32::try_from(names.len()).unwrap_or(u32::MAX);
                    selected.push(Selected { number, told });
                }
                Ok(_) => {}
                Err(error) => return self.refuse(option, ERR_INVALID, &error.to_string()),
            }
            if names.len() > CONTEXTS_MAX {
                return self.refuse(option, ERR_TOO_BIG, "too many contexts at once");
            }
        }
        for (name, selected) in names.iter().zip(&selected) {
            let data = [&selected.number.to_be_bytes(), name.as_bytes()].concat();
            self.reply(option, META_CONTEXT, &data);
        }
        self.reply(option, ACK, &[]);
        self.selected = Some((asked.name.to_owned(), selected));
    }

    /// The export of a query, unless the query is refused.
    fn queried(&mut self, option: u32, asked: &ContextQueries<'_>) -> Option<Arc<Export>> {
        if asked.queries.len() > QUERIES_MAX {
            self.refuse(option, ERR_TOO_BIG, "too many queries");
            return None;
        }
        let opened = self.open(asked.name);
        opened
            .inspect_err(|reason| self.refuse(option, ERR_UNKNOWN, reason))
            .ok()
    }

    fn session(self, export: Arc<Export>) -> Session {
        let name = self.opened.map(|opened| opened.0);
        let selected = self.selected.filter(|(of, _)| Some(of) == name.as_ref());
        Session {
            export,
            is_structured: self.is_structured,
            selected: selected.map(|selected| selected.1).unwrap_or_default(),
        }
    }
}
