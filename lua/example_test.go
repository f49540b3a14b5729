package lua_test

import (
	"context"
	"fmt"
	"log"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/cacheplugin/cacheplugin/lua"
)

// Two calls of a script that the server doesn't know yet.
func ExamplePipeline() {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()

	add := lua.New("return redis.call('INCRBY', KEYS[1], ARGV[1])")
	for _, reply := range lua.Pipeline(context.Background(), client, []lua.Call{
		{Script: add, Keys: []string{"n"}, Args: []any{1}},
		{Script: add, Keys: []string{"n"}, Args: []any{2}},
	}) {
		n, err := reply.Int()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(n)
	}
	// Output:
	// 1
	// 3
}
