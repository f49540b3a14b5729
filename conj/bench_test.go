package conj

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const benchText = `SELECT * FROM "users" WHERE "users"."age" = $1 AND "users"."company_id" = $2 AND "users"."deleted_at" IS NULL ORDER BY "users"."id" LIMIT $3`

func BenchmarkCompile(b *testing.B) {
	lookup := shop()
	for b.Loop() {
		if _, err := Compile(PostgreSQL, benchText, lookup, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBind(b *testing.B) {
	plan, err := Compile(PostgreSQL, benchText, shop(), Limits{})
	require.NoError(b, err)
	args := []any{int64(18), int64(5), int64(10)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := plan.Bind(args); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKey(b *testing.B) {
	scheme, values := MakeScheme([]string{"age", "company_id", "deleted_at"}), []Value{"=18", "=5", Null}
	for b.Loop() {
		MakeKey("public.users", scheme, values)
	}
}
