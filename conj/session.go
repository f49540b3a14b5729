package conj

import (
	"strings"

	"github.com/cacheplugin/cacheplugin/internal/sqltoken"
)

// TwoPhase is what a statement does in a commit of two phases.
type TwoPhase uint8

// The steps: PostgreSQL's PREPARE TRANSACTION, COMMIT PREPARED and ROLLBACK
// PREPARED, and MySQL's XA.
const (
	NoTwoPhase      TwoPhase = iota
	TwoPhaseBegin            // XA START, XA END: no BEGIN and no COMMIT tell of the transaction
	TwoPhasePrepare          // the session's transaction is left for any session to end
	TwoPhaseEnd              // a transaction that was left ends: what it wrote is visible only now
)

// sessionEffects are what a text does to its session besides reading and writing.
type sessionEffects struct {
	settings []Setting
	twoPhase TwoPhase
}

// SettingsOf returns what a text changes of its session, as Plan.Settings has
// it, without looking up a table.
func SettingsOf(d Dialect, sql string) []Setting {
	if !maySet(d, sql) {
		return nil
	}
	toks, err := tokenize(d, sql)
	if err != nil {
		toks = guessTokens(d, sql)
	}
	return sessionOf(d, toks).settings
}

// maySet reports whether a text is worth being taken apart for settings. A
// single SELECT or write changes none, but by set_config.
func maySet(d Dialect, sql string) bool {
	scanner := sqltoken.NewScanner(sqltoken.Dialect(d), sql)
	first, err := scanner.Next()
	if err != nil || strings.IndexByte(sql, ';') >= 0 {
		return true
	}
	for _, word := range [...]string{"select", "insert", "update", "delete", "with"} {
		if first.Is(word) {
			return d == PostgreSQL && strings.Contains(strings.ToLower(sql), "set_config")
		}
	}
	return true
}

// sessionOf reads the leading words of all statements of a text, and the calls
// of set_config anywhere in it.
func sessionOf(d Dialect, toks []token) (all sessionEffects) {
	s := sessionReader{d: d, sessionEffects: &all}
	for start, i := 0, 0; i < len(toks); i++ {
		if t := &toks[i]; t.is(";") || t.kind == tokEnd {
			s.toks, s.pos = toks[start:i], 0
			s.statement()
			start = i + 1
		}
	}
	if d == PostgreSQL {
		for i := range toks {
			if strings.EqualFold(toks[i].text, "set_config") && toks[i].identifier() && i+1 < len(toks) && toks[i+1].is("(") {
				all.settings = append(all.settings, config(toks[i+1:]))
			}
		}
	}
	return all
}

// config reads the arguments of set_config(name, value, is_local).
func config(toks []token) Setting {
	s := Setting{}
	if t := &toks[min(1, len(toks)-1)]; t.kind == tokString && toks[min(2, len(toks)-1)].is(",") {
		s.Name = strings.ToLower(t.text)
		s.Effect = SettingEffect(PostgreSQL, s.Name)
	}
	end := closing(toks)
	s.Local = end >= 2 && toks[end-1].word == "true" && toks[end-2].is(",")
	return s
}

// sessionReader reads one statement's tokens, without its end.
type sessionReader struct {
	*sessionEffects
	d    Dialect
	toks []token
	pos  int
}

// word returns the next word and takes it, "" where something else comes.
func (s *sessionReader) word() string {
	if s.pos < len(s.toks) {
		if w := s.toks[s.pos].word; w != "" {
			s.pos++
			return w
		}
	}
	return ""
}

// accept takes some words if they are next.
func (s *sessionReader) accept(words ...string) bool {
	if len(s.toks)-s.pos < len(words) {
		return false
	}
	for i, w := range words {
		if s.toks[s.pos+i].word != w {
			return false
		}
	}
	s.pos += len(words)
	return true
}

func (s *sessionReader) acceptAny(words ...string) bool {
	for _, w := range words {
		if s.accept(w) {
			return true
		}
	}
	return false
}

// holds reports whether one of some words comes, now or later.
func (s *sessionReader) holds(words ...string) bool {
	for i := s.pos; i < len(s.toks); i++ {
		if s.toks[i].anyOf(words...) {
			return true
		}
	}
	return false
}

func (s *sessionReader) add(name string, local bool) {
	effect := EffectUnknown
	if name != "" {
		effect = SettingEffect(s.d, name)
	}
	s.settings = append(s.settings, Setting{Name: name, Local: local, Effect: effect})
}

// harmless notes a change of the session that no result depends on.
func (s *sessionReader) harmless(name string) {
	s.settings = append(s.settings, Setting{Name: name, Effect: EffectNone})
}

func (s *sessionReader) statement() {
	switch first := s.word(); first {
	case "set":
		s.set()
	case "reset":
		s.reset()
	case "use":
		s.add(first, false)
	case "discard":
		s.discard()
	case "pragma":
		s.pragma()
	case "attach", "detach":
		s.add(first, false)
	case "alter":
		s.alter()
	case "prepare":
		if s.accept("transaction") {
			s.twoPhase = max(s.twoPhase, TwoPhasePrepare)
		}
	case "commit", "rollback", "end", "abort":
		if s.accept("prepared") {
			s.twoPhase = TwoPhaseEnd
		}
	case "xa":
		s.xa()
	}
}

func (s *sessionReader) xa() {
	switch s.word() {
	case "start", "begin", "end":
		s.twoPhase = max(s.twoPhase, TwoPhaseBegin)
	case "prepare":
		s.twoPhase = max(s.twoPhase, TwoPhasePrepare)
	case "recover":
	default:
		s.twoPhase = TwoPhaseEnd
	}
}

func (s *sessionReader) reset() {
	switch {
	case s.accept("all"):
		s.add("", false)
	case s.accept("session", "authorization"):
		s.add("session_authorization", false)
	case s.accept("time", "zone"):
		s.add("timezone", false)
	case s.accept("transaction", "isolation", "level"):
		s.add("transaction_isolation", false)
	default:
		s.add(s.name(), false)
	}
}

func (s *sessionReader) discard() {
	if s.acceptAny("plans", "sequences", "temp", "temporary") {
		s.harmless("")
		return
	}
	s.add("", false)
}

// pragma reads PRAGMA [schema.]name [= value | (value)]: without a value it only
// tells the setting.
func (s *sessionReader) pragma() {
	name := s.name()
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:]
	}
	if s.pos < len(s.toks) && (s.toks[s.pos].op("=") || s.toks[s.pos].is("(")) {
		s.add(name, false)
	}
}

// alter reads the defaults that ALTER ROLE, DATABASE or SYSTEM gives to later
// sessions.
func (s *sessionReader) alter() {
	if s.d != PostgreSQL || !s.acceptAny("role", "user", "database", "system") {
		return
	}
	for ; s.pos < len(s.toks); s.pos++ {
		switch {
		case s.accept("set"):
			s.postgres(false)
			return
		case s.accept("reset"):
			s.reset()
			return
		}
	}
}

func (s *sessionReader) set() {
	switch s.d {
	case PostgreSQL:
		local := s.accept("local")
		if !local && s.accept("session", "characteristics") {
			s.transaction("default_transaction_isolation", "default_transaction_read_only", false)
			return
		}
		if s.accept("session", "authorization") {
			s.add("session_authorization", local)
			return
		}
		if !local {
			s.accept("session")
		}
		s.postgres(local)
	case MySQL:
		s.mysql()
	default:
		s.add("", false)
	}
}

// postgres reads what follows SET, SET LOCAL or SET SESSION.
func (s *sessionReader) postgres(local bool) {
	switch {
	case s.accept("time", "zone"):
		s.add("timezone", local)
	case s.accept("session", "authorization"):
		s.add("session_authorization", local)
	case s.accept("transaction", "snapshot"):
		s.add("transaction_snapshot", true)
	case s.accept("transaction"):
		s.transaction("transaction_isolation", "transaction_read_only", true)
	case s.accept("constraints"):
		s.settings = append(s.settings, Setting{Name: "constraints", Local: true, Effect: EffectNone})
	case s.accept("names"):
		s.add("client_encoding", local)
	case s.accept("schema"):
		s.add("search_path", local)
	case s.accept("xml", "option"):
		s.add("xmloption", local)
	default:
		s.add(s.name(), local)
	}
}

// transaction reads SET TRANSACTION: only a level is an isolation.
func (s *sessionReader) transaction(isolation, readOnly string, local bool) {
	if s.holds("isolation", "snapshot") || !s.holds("read", "deferrable") {
		s.add(isolation, local)
		return
	}
	s.add(readOnly, local)
}

// name reads a name of several parts, in lower case.
func (s *sessionReader) name() string {
	var b strings.Builder
	for s.pos < len(s.toks) && (s.toks[s.pos].identifier() || s.toks[s.pos].kind == tokDouble || s.toks[s.pos].kind == tokString) {
		b.WriteString(strings.ToLower(s.toks[s.pos].text))
		s.pos++
		if s.pos >= len(s.toks) || !s.toks[s.pos].is(".") {
			break
		}
		b.WriteByte('.')
		s.pos++
	}
	return b.String()
}

// mysql reads what follows MySQL's SET: a list of assignments, some of which
// have words of their own.
func (s *sessionReader) mysql() {
	switch {
	case s.accept("password"):
		s.add("password", false)
		return
	case s.accept("role"):
		s.add("role", false)
		return
	case s.accept("default", "role"):
		s.add("default_role", false)
		return
	case s.accept("resource"):
		s.harmless("resource group")
		return
	case s.accept("statement"):
		s.harmless("") // ends with the statement
		return
	}
	for s.pos < len(s.toks) {
		s.assignment()
		s.skipValue()
	}
}

// assignment reads one item of a SET up to its value.
func (s *sessionReader) assignment() {
	if s.acceptAny("global", "session", "local", "persist", "persist_only") && s.pos < len(s.toks) && s.toks[s.pos].is(".") {
		s.pos++
	}
	switch {
	case s.accept("names"), s.accept("character"), s.accept("char"), s.accept("charset"):
		s.add("names", false)
	case s.accept("transaction"):
		s.transaction("transaction_isolation", "transaction_read_only", false)
		s.pos = len(s.toks) // its parts are separated by commas, too
	case s.pos < len(s.toks) && s.toks[s.pos].kind == tokOp && strings.HasPrefix(s.toks[s.pos].text, "@"):
		s.variable(s.toks[s.pos].text)
	default:
		s.add(systemVariable(s.name()), false)
	}
}

// variable notes @@session.name. What a text reads of @name makes it volatile.
func (s *sessionReader) variable(text string) {
	if system, ok := strings.CutPrefix(text, "@@"); ok {
		s.add(systemVariable(strings.ToLower(strings.Trim(system, "`"))), false)
		return
	}
	s.harmless(strings.ToLower(text))
}

// systemVariable takes the scope from a variable's name.
func systemVariable(name string) string {
	for _, scope := range [...]string{"global.", "session.", "local.", "persist.", "persist_only."} {
		name = strings.TrimPrefix(name, scope)
	}
	return strings.Trim(name, "`")
}

// skipValue moves behind the comma that ends an assignment.
func (s *sessionReader) skipValue() {
	depth := 0
	for ; s.pos < len(s.toks); s.pos++ {
		switch t := &s.toks[s.pos]; {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case t.is(",") && depth == 0:
			s.pos++
			return
		}
	}
}
