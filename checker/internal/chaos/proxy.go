package chaos

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// proxy stands between the processes and Redis.
type proxy struct {
	tb testing.TB
	*toxiproxy.Proxy
}

func newProxy(tb testing.TB, upstream string) *proxy {
	tb.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	p := &proxy{tb, toxiproxy.NewProxy(server, "redis", "127.0.0.1:0", upstream)}
	p.do(p.Start())
	tb.Cleanup(p.Stop)
	return p
}

func (p *proxy) address() string { return p.Listen }

func (p *proxy) do(err error) {
	p.tb.Helper()
	if err != nil {
		p.tb.Fatalf("toxiproxy: %v", err)
	}
}

// poison adds a toxic in both directions: what the server is told, and what it
// answers.
func (p *proxy) poison(kind, attributes string) {
	p.tb.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		_, err := p.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(
			`{"name": %q, "type": %q, "stream": %q, "attributes": %s}`, stream, kind, stream, attributes)))
		p.do(err)
	}
}

// heal removes all toxics.
func (p *proxy) heal() { p.Toxics.ResetToxics(context.Background()) }

// turn sends the processes to another server.
func (p *proxy) turn(upstream string) {
	p.tb.Helper()
	p.Stop()
	p.Upstream = upstream
	p.do(p.Start())
}
