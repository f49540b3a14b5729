package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// openRedis returns a client for a URL. It does not connect.
func openRedis(text string, timeout time.Duration) (redis.UniversalClient, error) {
	scheme, _, ok := strings.Cut(text, "://")
	if !ok {
		return nil, fmt.Errorf("%q is not a URL: write redis://%s", redact(text), text)
	}
	switch scheme {
	case "redis", "rediss", "unix":
		o, err := redis.ParseURL(text)
		if err != nil {
			return nil, fmt.Errorf("the URL of Redis: %w", withoutURL(err))
		}
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled = timeout, timeout, timeout, true
		return redis.NewClient(o), nil
	case "redis+sentinel", "rediss+sentinel":
		return openSentinel(text, timeout)
	case "redis+cluster", "rediss+cluster":
		return openCluster(text, timeout)
	}
	return nil, fmt.Errorf("a URL of Redis does not begin with %q", scheme+"://")
}

// several are the parts of a URL that names several hosts.
type several struct {
	hosts          []string
	user, password string
	path           []string
	query          url.Values
	tls            *tls.Config
}

func parseSeveral(text, port string) (several, error) {
	u, err := url.Parse(text)
	if err != nil {
		return several{}, fmt.Errorf("the URL of Redis: %w", withoutURL(err))
	}
	s := several{query: u.Query()}
	for host := range strings.SplitSeq(u.Host, ",") {
		if host == "" {
			return several{}, errors.New("the URL of Redis: a host is missing")
		}
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		s.hosts = append(s.hosts, host)
	}
	s.user = u.User.Username()
	s.password, _ = u.User.Password()
	s.path = strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' })
	if strings.HasPrefix(u.Scheme, "rediss") {
		// The name to verify is that of the host that is dialled.
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return s, nil
}

func openSentinel(text string, timeout time.Duration) (redis.UniversalClient, error) {
	s, err := parseSeveral(text, "26379")
	if err != nil {
		return nil, err
	}
	if len(s.path) == 0 || len(s.path) > 2 {
		return nil, errors.New("the URL of sentinels names the master after the hosts: redis+sentinel://host1,host2/mymaster/0")
	}
	db := 0
	if len(s.path) == 2 {
		if db, err = strconv.Atoi(s.path[1]); err != nil {
			return nil, fmt.Errorf("the URL of sentinels: %q is not the number of a database", s.path[1])
		}
	}
	return redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: s.path[0], SentinelAddrs: s.hosts, DB: db,
		Username: s.user, Password: s.password,
		SentinelUsername: s.query.Get("sentinel_username"), SentinelPassword: s.query.Get("sentinel_password"),
		TLSConfig:   s.tls,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, ContextTimeoutEnabled: true,
	}), nil
}

func openCluster(text string, timeout time.Duration) (redis.UniversalClient, error) {
	s, err := parseSeveral(text, "6379")
	if err != nil {
		return nil, err
	}
	if len(s.path) > 0 {
		return nil, errors.New("the URL of a cluster names no database: a cluster has only one")
	}
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: s.hosts, Username: s.user, Password: s.password, TLSConfig: s.tls,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, ContextTimeoutEnabled: true,
	}), nil
}

// withoutURL is an error of net/url without the URL, which may hold a password.
func withoutURL(err error) error {
	var parse *url.Error
	if errors.As(err, &parse) {
		return parse.Err
	}
	return err
}

// redact hides the password of a URL.
func redact(text string) string {
	scheme, rest, _ := strings.Cut(text, "://")
	at := strings.LastIndex(rest, "@")
	if at < 0 {
		return text
	}
	user, _, _ := strings.Cut(rest[:at], ":")
	return scheme + "://" + user + ":***" + rest[at:]
}
