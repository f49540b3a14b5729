package policy

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cacheplugin/cacheplugin/conj"
)

type user struct{}

func TestAPolicyIsFoundOnceForEachTableAndModel(t *testing.T) {
	asked := map[string]int{}
	p := New(func(table string, model reflect.Type) Policy {
		asked[fmt.Sprint(table, " ", model)]++
		return Policy{Found: true, Timeout: time.Minute}
	}, func([]string) bool { return false })
	for range 3 {
		require.Equal(t, time.Minute, p.Of("users", nil).Timeout)
		require.Equal(t, time.Minute, p.Of("users", reflect.TypeFor[user]()).Timeout)
	}
	require.Equal(t, map[string]int{"users <nil>": 1, "users policy.user": 1}, asked)
}

func TestNamesThatQueriesMakeUpAreNotRememberedForEver(t *testing.T) {
	p := New(func(string, reflect.Type) Policy { return Policy{} }, func([]string) bool { return false })
	for i := range 2 * rememberedTables {
		p.Of(fmt.Sprint("table ", i), nil)
	}
	n := 0
	p.known.Range(func(any, any) bool { n++; return true })
	require.Equal(t, rememberedTables, n)
}

func TestForbid(t *testing.T) {
	p := New(func(table string, _ reflect.Type) Policy {
		return Policy{Found: true, Forbids: table == "secrets"}
	}, func(members []string) bool { return slices.Contains(members, "secrets_2026") })
	for _, test := range []struct {
		name    string
		table   conj.Table
		forbids bool
	}{
		{"by the table's own profile", conj.Table{Name: "secrets"}, true},
		{"by the profile of a member of its family", conj.Table{Name: "events", Members: []string{"events_1", "secrets_2026"}}, true},
		{"not", conj.Table{Name: "events", Members: []string{"events_1"}}, false},
	} {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.forbids, p.Forbid(&test.table)) })
	}
}
