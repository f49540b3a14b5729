package store

import (
	"slices"
	"strings"
)

// Command is a command of Redis that the cache needs.
type Command struct {
	// Name is how it is written, such as "CLIENT SETNAME".
	Name string
	// InScripts says that a script calls it; else the client does.
	InScripts bool
	// Without says what is lost where the server refuses it; empty: it is
	// required.
	Without string
	// words are a call that changes nothing. KEY, OTHER, CHANNEL and NOTICE stand
	// for what they say.
	words string
	when  func(Options) bool // nil: always
}

// Rule returns the rule of an ACL that permits the command.
func (c Command) Rule() string {
	return "+" + strings.ReplaceAll(strings.ToLower(c.Name), " ", "|")
}

// String says which command it is, and whose.
func (c Command) String() string {
	if c.InScripts {
		return c.Name + " in scripts"
	}
	return c.Name
}

// What is lost without some commands.
const (
	unnoticed = "a restart from an old snapshot and a failover are not noticed"
	noAnswer  = "what the operator should know of the server is not known"
	noMessage = "near caches of other processes are not told what was invalidated"
	noPlain   = "look-ups are scripts, as without DirectConnections"
	noChecks  = "shadow reads report nothing"
	noLists   = "package lists reads the database"
)

func inSets(o Options) bool      { return o.Mode == ConjunctionSets }
func inStamps(o Options) bool    { return o.Mode == InsideOut }
func ifDirect(o Options) bool    { return o.DirectConnections }
func ifListening(o Options) bool { return o.Notices }

// commands are all of them, in the order in which they are tried: the first makes
// the key that others must not make, and the last deletes it.
var commands = []Command{
	{Name: "PING"},
	{Name: "EVALSHA", words: "EVALSHA 0000000000000000000000000000000000000000 1 KEY"},
	{Name: "EVAL", words: "EVAL return 1 KEY"},
	{Name: "UNLINK", words: "UNLINK KEY"},
	{Name: "PTTL", words: "PTTL KEY", Without: noChecks},
	{Name: "INFO", words: "INFO server", Without: noAnswer},

	{Name: "CLIENT GETNAME", words: "CLIENT GETNAME", when: ifDirect, Without: noPlain},
	{Name: "CLIENT SETNAME", words: "CLIENT SETNAME a|b", when: ifDirect, Without: noPlain}, // no name has a space
	{Name: "GETEX", words: "GETEX KEY", when: ifDirect, Without: noPlain},
	{Name: "GETRANGE", words: "GETRANGE KEY 0 0", when: ifDirect, Without: noPlain},
	{Name: "HGET", words: "HGET KEY f", when: ifDirect, Without: noPlain},
	{Name: "MGET", words: "MGET KEY", when: ifDirect, Without: noPlain},
	{Name: "PERSIST", words: "PERSIST KEY", when: ifDirect, Without: noPlain},
	{Name: "PSUBSCRIBE", when: ifListening, Without: noMessage},

	{InScripts: true, Name: "SET", words: "SET KEY x PX 1000"},
	{InScripts: true, Name: "GET", words: "GET KEY"},
	{InScripts: true, Name: "MGET", words: "MGET KEY"},
	{InScripts: true, Name: "HDEL", words: "HDEL KEY f"},
	{InScripts: true, Name: "HGET", words: "HGET KEY f"},
	{InScripts: true, Name: "HGETALL", words: "HGETALL KEY"},
	{InScripts: true, Name: "HKEYS", words: "HKEYS KEY"},
	{InScripts: true, Name: "HSET", words: "HSET KEY f x"}, // which is a string
	{InScripts: true, Name: "PTTL", words: "PTTL KEY"},
	{InScripts: true, Name: "TIME", words: "TIME"},
	{InScripts: true, Name: "EXISTS", words: "EXISTS KEY", when: inSets},
	{InScripts: true, Name: "HLEN", words: "HLEN KEY", when: inSets},
	{InScripts: true, Name: "HMGET", words: "HMGET KEY f", when: inSets},
	{InScripts: true, Name: "HRANDFIELD", words: "HRANDFIELD KEY 1", when: inSets},
	{InScripts: true, Name: "RENAME", words: "RENAME OTHER KEY", when: inSets}, // there is no other
	{InScripts: true, Name: "HLEN", words: "HLEN KEY", when: inStamps, Without: noLists},
	{InScripts: true, Name: "HMGET", words: "HMGET KEY f", when: inStamps, Without: noLists},
	{InScripts: true, Name: "ZADD", words: "ZADD KEY 0 x", Without: noLists},
	{InScripts: true, Name: "ZCARD", words: "ZCARD KEY", Without: noLists},
	{InScripts: true, Name: "ZLEXCOUNT", words: "ZLEXCOUNT KEY - +", Without: noLists},
	{InScripts: true, Name: "ZRANGE", words: "ZRANGE KEY 0 0", Without: noLists},
	{InScripts: true, Name: "ZRANGEBYLEX", words: "ZRANGEBYLEX KEY - +", Without: noLists},
	{InScripts: true, Name: "ZREM", words: "ZREM KEY x", Without: noLists},
	{InScripts: true, Name: "ZREVRANGE", words: "ZREVRANGE KEY 0 0", Without: noLists},
	{InScripts: true, Name: "ZREVRANGEBYLEX", words: "ZREVRANGEBYLEX KEY + -", Without: noLists},
	{InScripts: true, Name: "INFO", words: "INFO replication", Without: unnoticed},
	{InScripts: true, Name: "PUBLISH", words: "PUBLISH CHANNEL NOTICE", Without: noMessage},
	{InScripts: true, Name: "PEXPIRE", words: "PEXPIRE KEY 1000"},
	{InScripts: true, Name: "UNLINK", words: "UNLINK KEY"},
}

// Commands returns the commands that a Store with such options needs.
func Commands(o Options) []Command {
	var needed []Command
	for _, c := range commands {
		if c.when == nil || c.when(o) {
			needed = append(needed, c)
		}
	}
	return needed
}

// Rules returns the rules of an ACL that permit commands, sorted.
func Rules(commands []Command) string {
	rules := make([]string, len(commands))
	for i, c := range commands {
		rules[i] = c.Rule()
	}
	slices.Sort(rules)
	return strings.Join(slices.Compact(rules), " ")
}

// Access returns the rules of an ACL that permit all keys and channels of a
// namespace, and of those whose names begin with it.
func Access(namespace string) string { return "~{" + namespace + "* &{" + namespace + "*e:" }
