package twin

import (
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"
)

// sortRows orders the rows that a destination points to.
func sortRows(dest any) {
	v := reflect.ValueOf(dest).Elem()
	if v.Kind() != reflect.Slice {
		return
	}
	text := make(map[int]string, v.Len())
	order := make([]int, v.Len())
	for i := range order {
		order[i], text[i] = i, showValue(v.Index(i).Interface())
	}
	sort.SliceStable(order, func(a, b int) bool { return text[order[a]] < text[order[b]] })
	sorted := reflect.MakeSlice(v.Type(), 0, v.Len())
	for _, i := range order {
		sorted = reflect.Append(sorted, v.Index(i))
	}
	v.Set(sorted)
}

// showRows is showValue for any value, slices row by row.
func showRows(v any) string {
	r := reflect.ValueOf(v)
	for r.Kind() == reflect.Pointer && !r.IsNil() {
		r = r.Elem()
	}
	if r.Kind() != reflect.Slice {
		return "  " + showValue(v)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  %d of %s", r.Len(), r.Type())
	for i := range r.Len() {
		b.WriteString("\n    " + showValue(r.Index(i).Interface()))
	}
	return b.String()
}

// showValue shows a value with its types, pointers followed.
func showValue(v any) string { return showReflected(reflect.ValueOf(v)) }

func showReflected(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Invalid:
		return "nil"
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "nil"
		}
		if v.Kind() == reflect.Pointer {
			return "&" + showReflected(v.Elem())
		}
		return showReflected(v.Elem())
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			return t.Format(time.RFC3339Nano) + "@" + t.Location().String()
		}
		parts := make([]string, v.NumField())
		for i := range parts {
			parts[i] = v.Type().Field(i).Name + ":" + showReflected(v.Field(i))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case reflect.Slice:
		if b, ok := v.Interface().([]byte); ok {
			return fmt.Sprintf("[]byte(%q)", b)
		}
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = showReflected(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.Map:
		parts := make([]string, 0, v.Len())
		for _, k := range v.MapKeys() {
			parts = append(parts, k.String()+":"+showReflected(v.MapIndex(k)))
		}
		sort.Strings(parts)
		return "map[" + strings.Join(parts, " ") + "]"
	}
	return fmt.Sprintf("%T(%#v)", v.Interface(), v.Interface())
}
