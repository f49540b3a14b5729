// Package lua holds the scripts of the cache protocol and runs them.
//
// In a read, [Acquire] is the look-up. On a miss it registers what the result will
// depend on, and takes a lease. [Save], [SaveJoined] and [Release] come after the
// database has answered. Where the keys lie in several slots, the look-up is three
// scripts: [Find], [Vouch] for each table, and on a miss [Lease].
//
// In a write, [Invalidate] runs after COMMIT, and under Strict before it as well. It
// may leave entries to [Reclaim]. Lists of rows are begun by [ListOpen], filled by
// [ListFill] and read by [ListRead]; a write marks rows of them by [ListMark], and who
// has read these again brings them by [ListMerge]. [Follow] is the seat
// of those who tell of what others have written. [Identity] names the server.
//
// Package internal/store builds the keys and arguments. Nothing but a script
// changes a key of the protocol. Each file opens with its keys, arguments, reply
// and complexity.
package lua

import (
	"context"
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed *.lua parts/*.lua
var files embed.FS

// The scripts. They are immutable and safe for concurrent use.
var (
	Acquire    = load("acquire")
	Save       = load("save")
	SaveJoined = load("savejoined")
	Release    = load("release")
	Invalidate = load("invalidate")
	Reclaim    = load("reclaim")
	Find       = load("find")
	Vouch      = load("vouch")
	Lease      = load("lease")
	Identity   = load("identity")
	Probe      = load("probe")
	Follow     = load("follow")
	ListOpen   = load("listopen")
	ListFill   = load("listfill")
	ListRead   = load("listread")
	ListMark   = load("listmark")
	ListMerge  = load("listmerge")
)

// HoldArg is the index among the arguments of [Invalidate] of the one that says for how
// long a fence is set, if it is positive: for those who look at calls on their way.
const HoldArg = 6

// SeenArg is the index of the one that says when the changes could be seen by all.
const SeenArg = 5

// load returns a script of this package.
func load(name string) *Script { return New(text(name + ".lua")) }

// text returns a file with the parts that it includes: a line "-- include x" stands
// for parts/x.lua. A part is included as it is, so that what several scripts do alike
// is written once and costs no call.
func text(name string) string {
	content, err := files.ReadFile(name)
	if err != nil {
		panic(fmt.Sprintf("lua: %v", err)) // a test loads them all
	}
	var whole strings.Builder
	for line := range strings.Lines(string(content)) {
		if part, ok := strings.CutPrefix(strings.TrimSpace(line), "-- include "); ok {
			whole.WriteString(text("parts/" + part + ".lua"))
			continue
		}
		whole.WriteString(line)
	}
	return whole.String()
}

// Script is a Lua script that is sent by its digest, and by its text to a
// server that doesn't know it: one that has restarted, was promoted, or was
// told to SCRIPT FLUSH.
type Script struct {
	source string
	script *redis.Script
	hash   any // the digest, as an argument
}

// New returns the script with the given text.
func New(source string) *Script {
	script := redis.NewScript(source)
	return &Script{source: source, script: script, hash: script.Hash()}
}

// Source returns the script's text.
func (s *Script) Source() string { return s.source }

// Hash returns the digest that the script is sent by, for those who watch what
// a client sends.
func (s *Script) Hash() string { return s.script.Hash() }

// Run executes the script on its own.
func (s *Script) Run(ctx context.Context, c redis.Scripter, keys []string, args ...any) *redis.Cmd {
	return s.script.Run(ctx, c, keys, args...)
}

// Message is one execution of a script that is put together argument by
// argument. On the way of every hit that saves the copies that [Script.Run] makes.
type Message struct {
	script *Script
	args   []any    // EVALSHA, digest, number of keys, keys and arguments
	texts  []string // what args point to
}

// evalSHA are the words before the keys.
const evalSHA = 3

// Message begins a call with room for so many keys and arguments, and for as
// many texts among them. Exactly that many keys are to be added first.
func (s *Script) Message(keys, args, texts int) Message {
	m := Message{script: s, args: make([]any, evalSHA, evalSHA+keys+args), texts: make([]string, 0, texts)}
	m.args[0], m.args[1], m.args[2] = "evalsha", s.hash, keys
	return m
}

// Add adds keys, then arguments.
func (m *Message) Add(args ...any) { m.args = append(m.args, args...) }

// AddText adds a key, or an argument, as a pointer to it, which go-redis takes
// as well and which needs no place of its own on the heap.
func (m *Message) AddText(text string) {
	m.texts = append(m.texts, text)
	m.args = append(m.args, &m.texts[len(m.texts)-1])
}

// Spell replaces the pointers by their texts, for a client whose hooks may look
// at the arguments.
func (m Message) Spell() {
	for i, arg := range m.args {
		if text, ok := arg.(*string); ok {
			m.args[i] = *text
		}
	}
}

// Send executes the call.
func (m Message) Send(ctx context.Context, c redis.UniversalClient) *redis.Cmd {
	cmd := m.send(ctx, c)
	if err := cmd.Err(); err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		m.args[0], m.args[1] = "eval", m.script.source
		cmd = m.send(ctx, c)
	}
	return cmd
}

func (m Message) send(ctx context.Context, c redis.UniversalClient) *redis.Cmd {
	cmd := redis.NewCmd(ctx, m.args...)
	cmd.SetFirstKeyPos(evalSHA)
	_ = c.Process(ctx, cmd) // the command carries its error
	return cmd
}

// Call is one execution of a script in a pipeline.
type Call struct {
	Script *Script
	Keys   []string
	Args   []any
}

// Pipeliner is what [Pipeline] needs of a client; every [redis.UniversalClient]
// is one.
type Pipeliner interface {
	Pipeline() redis.Pipeliner
}

// Pipeline executes the calls in one round trip and returns one result for
// each, in order. Every result carries its own error.
//
// Calls that the server answers with NOSCRIPT are sent again with their text, in a
// second round trip: a pipeline can't fall back by itself, since its replies are
// only seen at the end. Later calls of the same script are sent again as well,
// because somebody else may have made it known in between. The last time that each
// of them is executed it is in order. Calls are not atomic together.
func Pipeline(ctx context.Context, c Pipeliner, calls []Call) []*redis.Cmd {
	return pipeline(ctx, c, calls, true)
}

// PipelineAnyOrder is [Pipeline] for calls whose order doesn't matter: no call that
// was executed is sent again.
func PipelineAnyOrder(ctx context.Context, c Pipeliner, calls []Call) []*redis.Cmd {
	return pipeline(ctx, c, calls, false)
}

func pipeline(ctx context.Context, c Pipeliner, calls []Call, ordered bool) []*redis.Cmd {
	results := make([]*redis.Cmd, len(calls))
	pipe := c.Pipeline()
	for i, call := range calls {
		results[i] = call.Script.script.EvalSha(ctx, pipe, call.Keys, call.Args...)
	}
	// The error is that of the first failed call; each call has its own.
	_, _ = pipe.Exec(ctx)

	pipe = nil
	var unknown []*Script
	for i, call := range calls {
		if redis.HasErrorPrefix(results[i].Err(), "NOSCRIPT") {
			unknown = append(unknown, call.Script)
		} else if !ordered || !slices.Contains(unknown, call.Script) {
			continue
		}
		if pipe == nil {
			pipe = c.Pipeline()
		}
		results[i] = call.Script.script.Eval(ctx, pipe, call.Keys, call.Args...)
	}
	if pipe != nil {
		_, _ = pipe.Exec(ctx)
	}
	return results
}
