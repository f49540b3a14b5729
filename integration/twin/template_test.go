package twin

import (
	"strings"

	"gorm.io/gorm"

	"github.com/cacheplugin/cacheplugin/cache"
)

// twinTemplates are texts with places for conditions: {a} on authors under
// the alias a, {b} on books under b, {s} on slots under s, {t} on tags under t,
// {k} on links under k. A dialect before a colon restricts a text to it.
var twinTemplates = []string{
	"SELECT a.id, b.id AS book FROM twin_authors a LEFT JOIN (twin_books b JOIN twin_slots s ON s.author_id = b.author_id AND {s}) ON b.author_id = a.id WHERE {a} ORDER BY 1, 2",
	"SELECT a.id, b.id AS book, s.qty FROM twin_authors a LEFT JOIN twin_books b ON b.author_id = a.id AND {b} LEFT JOIN twin_slots s ON s.author_id = b.author_id WHERE {a} AND s.qty IS NULL ORDER BY 1, 2",
	"SELECT a.id, s.qty FROM twin_authors a, twin_books b LEFT JOIN twin_slots s ON s.author_id = b.author_id AND {s} WHERE a.id = b.author_id AND {a} AND {b} ORDER BY 1, 2",
	"SELECT b.id FROM twin_books b WHERE b.stars = (SELECT max(a.grp) FROM twin_authors a WHERE {a}) ORDER BY 1",
	"SELECT b.id FROM twin_books b WHERE b.stars > ALL (SELECT s.qty FROM twin_slots s WHERE {s}) ORDER BY 1",
	"SELECT b.id FROM twin_books b WHERE (b.author_id, b.stars) IN (SELECT a.id, a.level FROM twin_authors a WHERE {a}) ORDER BY 1",
	"SELECT a.grp, count(*) AS n FROM twin_authors a WHERE {a} GROUP BY a.grp HAVING count(*) > (SELECT count(*) FROM twin_books b WHERE {b} AND b.stars = 1) ORDER BY 1",
	"SELECT a.id, row_number() OVER (PARTITION BY a.grp ORDER BY a.id) AS n FROM twin_authors a WHERE {a} ORDER BY 1",
	"SELECT a.id FROM twin_authors a WHERE {a} ORDER BY (SELECT count(*) FROM twin_books b WHERE b.author_id = a.id AND {b}), a.id LIMIT 3",
	"SELECT x.id, x.n FROM (SELECT a.id, count(b.id) AS n FROM twin_authors a LEFT JOIN twin_books b ON b.author_id = a.id AND {b} WHERE {a} GROUP BY a.id) x WHERE x.n > 0 ORDER BY 1",
	"WITH RECURSIVE r(id, depth) AS (SELECT a.id, 1 FROM twin_authors a WHERE {a} AND a.id <= 3 UNION ALL SELECT b.stars, r.depth + 1 FROM r JOIN twin_books b ON b.author_id = r.id WHERE r.depth < 3 AND {b}) SELECT id, depth FROM r ORDER BY 1, 2",
	"WITH twin_books AS (SELECT a.id, a.grp AS stars FROM twin_authors a WHERE {a}) SELECT id, stars FROM twin_books WHERE stars = 1 ORDER BY 1",
	"SELECT a.id FROM twin_authors a WHERE {a} UNION SELECT b.author_id FROM twin_books b WHERE {b} UNION ALL SELECT s.qty FROM twin_slots s WHERE {s} ORDER BY 1",
	"SELECT id FROM ((SELECT a.id FROM twin_authors a WHERE {a})) q ORDER BY id",
	"SELECT count(DISTINCT a.grp) AS n, sum(CASE WHEN {a} THEN 1 ELSE 0 END) AS m FROM twin_authors a WHERE a.flag",
	"SELECT a.id, EXISTS (SELECT 1 FROM twin_books b WHERE b.author_id = a.id AND {b}) AS e FROM twin_authors a WHERE {a} ORDER BY 1",
	"SELECT a.id FROM twin_authors a JOIN twin_author_tags k ON k.twin_author_id = a.id AND {k} JOIN twin_tags t ON t.code = k.twin_tag_code WHERE {t} ORDER BY a.id, t.code",
	"SELECT t.weight, count(k.twin_author_id) AS n FROM twin_tags t LEFT JOIN twin_author_tags k ON k.twin_tag_code = t.code AND k.twin_author_id = 1 WHERE {t} GROUP BY t.weight ORDER BY 1",
	"SELECT a.id FROM twin_authors a WHERE a.grp = 1 AND EXISTS (SELECT 1 FROM twin_books b WHERE b.stars = a.grp AND {b} AND NOT EXISTS (SELECT 1 FROM twin_slots s WHERE s.qty = b.stars AND s.author_id = a.id AND {s})) ORDER BY 1",
	"SELECT shelf, pos, twin_slots.qty FROM twin_slots JOIN (SELECT a.id AS author_id, a.grp FROM twin_authors a WHERE {a}) q USING (author_id) WHERE q.grp = 1 OR twin_slots.qty = 2 ORDER BY 1, 2",
	"SELECT a.id FROM twin_authors a WHERE a.grp = 1 AND a.grp = a.level AND {a} ORDER BY 1",
	"SELECT a.id, b.id AS book FROM twin_authors a JOIN twin_books b ON a.id = b.author_id AND a.grp = b.stars WHERE a.grp = 2 AND {b} ORDER BY 1, 2",
	"SELECT a.id, b.id AS book FROM twin_authors a LEFT JOIN twin_books b ON a.grp = b.stars WHERE a.grp = 2 AND (b.state = 'open' OR {a}) ORDER BY 1, 2",
	"SELECT a.id, b.id AS book FROM twin_authors a RIGHT JOIN twin_books b ON a.id = b.author_id AND {a} WHERE {b} ORDER BY 1, 2",
	"SELECT b.id FROM twin_books b WHERE NOT (b.stars = 1 AND b.author_id = 2) AND {b} ORDER BY 1",
	"SELECT b.id FROM twin_books b WHERE (b.stars = 1) = (b.state = 'open') ORDER BY 1",
	"SELECT b.id FROM twin_books b WHERE b.stars = 1 IS TRUE AND {b} ORDER BY 1",
	"SELECT b.id FROM twin_books b WHERE (b.stars = 1 OR b.stars IS NULL) AND (b.author_id IN (1, 2, NULL) OR {b}) ORDER BY 1",
	"SELECT b.id FROM twin_books b WHERE b.id IN (SELECT b.stars FROM twin_authors a WHERE {a} AND a.id = b.author_id) ORDER BY 1",
	"SELECT id FROM twin_books b WHERE stars IN (SELECT stars FROM twin_slots s WHERE {s}) AND {b} ORDER BY 1",
	"postgres:SELECT a.id, x.id AS book FROM twin_authors a LEFT JOIN LATERAL (SELECT b.id FROM twin_books b WHERE b.author_id = a.id AND {b} ORDER BY b.id LIMIT 1) x ON true WHERE {a} ORDER BY 1",
	"postgres:SELECT DISTINCT ON (a.grp) a.grp, a.id FROM twin_authors a WHERE {a} ORDER BY a.grp, a.id",
	"postgres:SELECT a.id, b.id AS book FROM twin_authors a FULL JOIN twin_books b ON a.id = b.author_id AND {b} WHERE {a} OR b.stars = 1 ORDER BY 1, 2",
	"postgres:SELECT count(*) FILTER (WHERE a.flag) AS n FROM twin_authors a WHERE {a}",
	"postgres:SELECT a.id FROM twin_authors a WHERE a.grp = ANY(ARRAY[1, 2]) AND a.level = SOME (SELECT b.stars FROM twin_books b WHERE {b}) ORDER BY 1",
	"postgres:SELECT a.id FROM ONLY twin_authors a WHERE {a} ORDER BY 1",
	"postgres:TABLE twin_tags",
	"sqlite:SELECT a.id, b.id AS book FROM twin_authors a FULL JOIN twin_books b ON a.id = b.author_id AND {b} WHERE {a} OR b.stars = 1 ORDER BY 1, 2",
	"sqlite:SELECT a.id FROM twin_authors a INDEXED BY no_such_index WHERE {a}",
	"sqlite:SELECT rowid, b._rowid_ AS r FROM twin_books b WHERE oid = 1 OR {b} ORDER BY 1",
	"mysql:SELECT a.id FROM twin_authors a USE INDEX (PRIMARY) WHERE {a} ORDER BY 1",
	"mysql:SELECT STRAIGHT_JOIN a.id, b.id AS book FROM twin_authors a STRAIGHT_JOIN twin_books b ON a.id = b.author_id WHERE {a} AND {b} ORDER BY 1, 2",
	"mysql:SELECT a.id FROM twin_authors a WHERE a.flag XOR a.vote OR {a} && a.grp = 1 ORDER BY 1",
	"mysql:SELECT a.id FROM twin_authors a WHERE a.flag || {a} ORDER BY 1 LIMIT 1, 3",
}

// template draws a text and fills its places.
func (g *twinGen) template() *twinQuery {
	var text string
	for {
		dialect, rest, restricted := strings.Cut(pick(g, twinTemplates...), ":")
		if !restricted || dialect == g.dialect {
			if text = dialect; restricted {
				text = rest
			}
			break
		}
	}
	places := map[string]*twinTable{"{a}": twinAuthors, "{b}": twinBooks, "{s}": twinSlots, "{t}": twinTags, "{k}": twinLinks}
	var args []any
	for {
		i := strings.IndexByte(text, '{')
		if i < 0 {
			break
		}
		place := text[i : i+3]
		c := g.cond(places[place], place[1:2]+".", 1)
		// Braces in a condition's text would be taken for places.
		if strings.Contains(c.sql, "{") {
			continue
		}
		text, args = text[:i]+c.sql+text[i+3:], append(args, c.args...)
	}
	byHand := g.chance(3)
	return &twinQuery{name: "template " + text + " " + showValue(args), loose: strings.HasPrefix(text, "TABLE"), run: func(db *gorm.DB) (any, *gorm.DB) {
		dest := []map[string]any{}
		if byHand {
			return &dest, db.Scopes(cache.Cache()).Raw(text, args...).Scan(&dest)
		}
		return &dest, db.Raw(text, args...).Find(&dest)
	}}
}
