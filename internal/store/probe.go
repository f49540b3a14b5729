package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/lua"
)

// Refusal is a command that the server refuses.
type Refusal struct {
	Command Command
	// Reason is what the server answers.
	Reason string
	// Remedy says what permits it.
	Remedy string
}

func (r Refusal) String() string {
	return fmt.Sprintf("%v (%s): %s", r.Command, r.Reason, r.Remedy)
}

// place is where commands are tried: a server, and a key that lies there.
type place struct {
	node redis.UniversalClient
	tag  string // what the names of its keys begin with
}

// places returns one for each server that holds the namespace.
func (s *Store) places(ctx context.Context, client redis.UniversalClient) ([]place, error) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return []place{{client, strings.TrimSuffix(s.keys.roots()[0].epoch, "N")}}, nil
	}
	var all []place
	seen := map[string]bool{}
	for _, r := range s.keys.roots() {
		node, err := cluster.MasterForKey(ctx, r.epoch)
		if err != nil {
			return nil, err
		}
		if address := node.Options().Addr; !seen[address] {
			seen[address] = true
			all = append(all, place{node, strings.TrimSuffix(r.epoch, "N")})
		}
	}
	return all, nil
}

// probe tries the commands that are needed on keys of its own, in one round trip for
// the client's, one for those of scripts and one to listen. An error is one of the
// connection.
func (s *Store) probe(ctx context.Context, at place) ([]Refusal, error) {
	key := at.tag + "e:check:" + s.token()
	var own, scripted []Command
	for _, c := range s.needed {
		switch {
		case c.InScripts:
			scripted = append(scripted, c)
		case c.Name != "PSUBSCRIBE":
			own = append(own, c)
		}
	}
	var refusals []Refusal
	for _, try := range []func(context.Context) ([]Refusal, error){
		func(ctx context.Context) ([]Refusal, error) { return s.probeClient(ctx, at, key, own) },
		func(ctx context.Context) ([]Refusal, error) { return s.probeScripts(ctx, at, key, scripted) },
		func(ctx context.Context) ([]Refusal, error) { return s.probeListening(ctx, at) },
	} {
		found, err := bounded(ctx, s, func(ctx context.Context, _ redis.UniversalClient) ([]Refusal, error) { return try(ctx) })
		if err != nil {
			return nil, err
		}
		refusals = append(refusals, found...)
	}
	return refusals, nil
}

func (s *Store) probeClient(ctx context.Context, at place, key string, commands []Command) ([]Refusal, error) {
	pipe := at.node.Pipeline()
	sent := make([]*redis.Cmd, len(commands))
	for i, c := range commands {
		var args []any
		for _, word := range s.words(c, key) {
			args = append(args, word)
		}
		sent[i] = pipe.Do(ctx, args...)
	}
	_, _ = pipe.Exec(ctx) // each command has its error
	var refusals []Refusal
	for i, c := range commands {
		err := sent[i].Err()
		if err != nil && !isAnswer(err) {
			return nil, err
		}
		if err != nil {
			refusals = s.appendRefusal(refusals, c, err.Error())
		}
	}
	return refusals, nil
}

func (s *Store) probeScripts(ctx context.Context, at place, key string, commands []Command) ([]Refusal, error) {
	var args []any
	for _, c := range commands {
		words := s.words(c, key)
		args = append(args, len(words))
		for _, word := range words {
			args = append(args, word)
		}
	}
	replies, err := lua.Probe.Run(ctx, at.node, []string{key, key + ":other"}, args...).StringSlice()
	if isAnswer(err) && refused(err.Error()) {
		return nil, nil // EVAL itself, or EVALSHA, which the client has tried
	}
	if err != nil {
		return nil, err
	}
	if len(replies) != len(commands) {
		return nil, replyError("probe", replies)
	}
	var refusals []Refusal
	for i, c := range commands {
		refusals = s.appendRefusal(refusals, c, replies[i])
	}
	return refusals, nil
}

// words returns a call of a command that changes nothing.
func (s *Store) words(c Command, key string) []string {
	if c.Name == "EVAL" {
		return []string{"EVAL", "return 1", "1", key}
	}
	words := strings.Fields(c.words)
	if len(words) == 0 {
		return []string{c.Name}
	}
	table := s.keys.table("check")
	for i, word := range words {
		switch word {
		case "KEY":
			words[i] = key
		case "OTHER":
			words[i] = key + ":other"
		case "CHANNEL":
			words[i] = s.Channel()
		case "NOTICE": // of no conjunction of a table that is none
			words[i] = fmt.Sprintf("k%d:%s", len(table), table)
		case "a|b":
			words[i] = "a b"
		}
	}
	return words
}

// probeListening subscribes to the notices as a Listener does, where that is needed.
func (s *Store) probeListening(ctx context.Context, at place) ([]Refusal, error) {
	i := slices.IndexFunc(s.needed, func(c Command) bool { return c.Name == "PSUBSCRIBE" })
	if i < 0 {
		return nil, nil
	}
	sub := at.node.PSubscribe(ctx, noticePattern(s.namespace))
	defer func() { _ = sub.Close() }()
	_, err := sub.Receive(ctx)
	if isAnswer(err) {
		return s.appendRefusal(nil, s.needed[i], err.Error()), nil
	}
	return nil, err
}

// appendRefusal appends a command that the server has refused. Other errors say that
// it was executed.
func (s *Store) appendRefusal(refusals []Refusal, c Command, reason string) []Refusal {
	if !refused(reason) {
		return refusals
	}
	remedy := "permit it (ACL SETUSER <user> " + c.Rule() + ")"
	switch {
	case mentions(reason, "access") && mentions(reason, "key"):
		remedy = "permit the keys (ACL SETUSER <user> ~" + s.keys.tag + "*)"
	case mentions(reason, "channel"):
		remedy = "permit the channel (ACL SETUSER <user> &" + noticePattern(s.namespace) + ")"
	case mentions(reason, "unknown"):
		remedy = "the server does not know it: remove rename-command " + c.Name + " from its configuration, or use a version that has it"
	}
	return append(refusals, Refusal{Command: c, Reason: strings.TrimSpace(reason), Remedy: remedy})
}

// refused reports whether a server's answer says that it will not execute a command,
// whatever its arguments.
func refused(reason string) bool {
	return mentions(reason, "noperm") || mentions(reason, "the user executing the script can't") || mentions(reason, "unknown command") ||
		mentions(reason, "unknown redis command") || mentions(reason, "unknown subcommand")
}

func mentions(reason, word string) bool { return strings.Contains(strings.ToLower(reason), word) }

// refusalError returns the error of those refusals that the cache can't do with.
func refusalError(refusals []Refusal) error {
	var all []string
	for _, r := range refusals {
		if r.Command.Without == "" {
			all = append(all, r.String())
		}
	}
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("%w: Options.Client may not call %s", ErrConfig, strings.Join(all, "; "))
}
