package lua_test

import (
	"context"
	"regexp"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/internal/testenv"
	"github.com/cacheplugin/cacheplugin/lua"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// onEachServer runs a test on a server of its own: a real one and the
// embedded one.
func onEachServer(t *testing.T, test func(t *testing.T, client redis.UniversalClient)) {
	t.Run("redis", func(t *testing.T) { test(t, testenv.StartRedis(t).Client(t)) })
	t.Run("embedded", func(t *testing.T) {
		client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
		defer client.Close()
		test(t, client)
	})
}

var (
	echo = lua.New(`return {KEYS[1], ARGV[1]}`)
	fail = lua.New(`return redis.error_reply('ODD no luck')`)
)

func TestRunFallsBackToTheTextOfAnUnknownScript(t *testing.T) {
	onEachServer(t, func(t *testing.T, client redis.UniversalClient) {
		ctx := t.Context()
		for range 2 {
			got, err := echo.Run(ctx, client, []string{"k"}, "a\x00b").StringSlice()
			require.NoError(t, err)
			require.Equal(t, []string{"k", "a\x00b"}, got)
			require.NoError(t, client.ScriptFlush(ctx).Err())
		}
	})
}

func TestPipelineFallsBackForUnknownScriptsOnly(t *testing.T) {
	onEachServer(t, func(t *testing.T, client redis.UniversalClient) {
		ctx := t.Context()
		require.NoError(t, echo.Run(ctx, client, []string{"k"}, "1").Err())
		calls := []lua.Call{
			{Script: echo, Keys: []string{"k"}, Args: []any{"1"}},
			{Script: fail},
			{Script: lua.Release, Keys: []string{"e"}, Args: []any{"id"}},
			{Script: echo, Keys: []string{"k"}, Args: []any{"2"}},
		}
		for range 2 {
			results := lua.Pipeline(ctx, client, calls)
			require.Len(t, results, len(calls))
			for i, want := range []string{"1", "", "", "2"} {
				if want == "" {
					continue
				}
				got, err := results[i].StringSlice()
				require.NoError(t, err)
				require.Equal(t, []string{"k", want}, got)
			}
			require.True(t, redis.HasErrorPrefix(results[1].Err(), "ODD"), "%v", results[1].Err())
			n, err := results[2].Int()
			require.NoError(t, err)
			require.Zero(t, n)
			require.NoError(t, client.ScriptFlush(ctx).Err())
		}
	})
}

// between has something done after the first command of the first pipeline, as if
// others had come in between.
type between struct {
	redis.Hook
	do func()
}

func (b *between) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *between) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (b *between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		do := b.do
		if b.do = nil; do == nil {
			return next(ctx, cmds)
		}
		_ = next(ctx, cmds[:1])
		do()
		return next(ctx, cmds[1:])
	}
}

func TestPipelineKeepsTheOrderIfAScriptBecomesKnownMeanwhile(t *testing.T) {
	onEachServer(t, func(t *testing.T, client redis.UniversalClient) {
		ctx := t.Context()
		push := lua.New(`return redis.call('RPUSH', KEYS[1], ARGV[1])`)
		client.AddHook(&between{do: func() { require.NoError(t, push.Run(ctx, client, []string{"other"}, "x").Err()) }})
		var calls []lua.Call
		for _, arg := range []string{"1", "2", "3"} {
			calls = append(calls, lua.Call{Script: push, Keys: []string{"list"}, Args: []any{arg}})
		}
		for _, r := range lua.Pipeline(ctx, client, calls) {
			require.NoError(t, r.Err())
		}
		list, err := client.LRange(ctx, "list", -3, -1).Result()
		require.NoError(t, err)
		require.Equal(t, []string{"1", "2", "3"}, list)
	})
}

func TestPipelineAnyOrderExecutesEachCallOnce(t *testing.T) {
	onEachServer(t, func(t *testing.T, client redis.UniversalClient) {
		ctx := t.Context()
		push := lua.New(`return redis.call('RPUSH', KEYS[1], ARGV[1]) -- once`)
		client.AddHook(&between{do: func() { require.NoError(t, push.Run(ctx, client, []string{"other"}, "x").Err()) }})
		var calls []lua.Call
		for _, arg := range []string{"1", "2", "3"} {
			calls = append(calls, lua.Call{Script: push, Keys: []string{"once"}, Args: []any{arg}})
		}
		require.NoError(t, client.Del(ctx, "once").Err())
		for _, r := range lua.PipelineAnyOrder(ctx, client, calls) {
			require.NoError(t, r.Err())
		}
		list, err := client.LRange(ctx, "once", 0, -1).Result()
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"1", "2", "3"}, list)
	})
}

func TestPipelineReportsTheLossOfTheServerForEveryCall(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	for _, r := range lua.Pipeline(context.Background(), client, []lua.Call{{Script: echo, Keys: []string{"k"}}, {Script: fail}}) {
		require.Error(t, r.Err())
	}
}

func TestScriptsOpenWithTheirContract(t *testing.T) {
	for name, source := range lua.Sources() {
		for _, part := range []string{`(?m)^-- KEYS `, `(?m)^-- ARGV `, `(?m)^-- Returns `, `(?m)^-- Complexity `} {
			require.Regexp(t, regexp.MustCompile(part), source, name)
		}
	}
}

func TestAMessageIsSentToAServerThatDoesNotKnowTheScript(t *testing.T) {
	ctx := context.Background()
	client := testenv.Redis(t)
	script := lua.New("return {KEYS[1], ARGV[1], ARGV[2]} -- " + t.Name())
	for _, known := range []bool{false, true} {
		m := script.Message(1, 2, 2)
		m.AddText("{key}")
		m.Add(7)
		m.AddText("a")
		reply, err := m.Send(ctx, client).Slice()
		require.NoError(t, err, "known: %v", known)
		require.Equal(t, []any{"{key}", "7", "a"}, reply)
	}
}
