package fiberviews

import (
	"net/http"
	"net/url"

	"github.com/gofiber/fiber/v3"
)

// request copies what the key of a response can be made of, and nothing of the
// body. Fiber's own texts are overwritten by the next request.
func request(c fiber.Ctx) (*http.Request, error) {
	asked := c.RequestCtx()
	uri := c.Request().URI()
	u, err := url.ParseRequestURI(string(uri.RequestURI())) // as middlewares have left it
	if err != nil {
		return nil, err
	}
	r := &http.Request{
		Method: string(asked.Method()), URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Host: string(uri.Host()), RequestURI: string([]byte(c.OriginalURL())),
		RemoteAddr: asked.RemoteAddr().String(), TLS: asked.TLSConnectionState(), Body: http.NoBody,
	}
	for name, value := range c.Request().Header.All() {
		r.Header.Add(string(name), string(value))
	}
	r.Header.Del(fiber.HeaderHost)
	if length := r.Header.Get(fiber.HeaderContentLength); length != "" && length != "0" || r.Header.Get(fiber.HeaderTransferEncoding) != "" {
		r.ContentLength = -1 // it has a body
	}
	return r.WithContext(c.Context()), nil
}
