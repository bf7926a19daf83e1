package store

import (
	"context"
	"database/sql"

	"github.com/outposts-dev/outposts/server/outpost"
)

// ReasonPlace is the Reason of the error for a database whose rows belong to the outpost of another place.
const ReasonPlace = "place"

// Place is where an outpost and the pods of its rows are.
type Place struct {
	UID       string // of the outpost's namespace, a UUID: no other namespace of any cluster has it
	Namespace string // its name, for messages
}

// Bind binds the database to the place of the process that has opened it. The first one to do so has it: for any other
// place, whose outpost would end all services because it sees no pod of theirs, the error is KindInvalid with
// [ReasonPlace]. movedFrom is the UID of a place that is gone and whose rows go to this one; empty for none. After it,
// [DB.Ping] and [DB.All] fail once the database has been moved to another place.
func (d *DB) Bind(ctx context.Context, here Place, movedFrom string) error {
	var there Place
	err := d.inTx(ctx, "bind", func(ctx context.Context, tx *sql.Tx) error {
		if _, err := d.exec(ctx, tx, `INSERT INTO outpost_place (one, uid, namespace) VALUES (1, ?, ?)
			ON CONFLICT DO NOTHING`, here.UID, here.Namespace); err != nil {
			return err
		}
		moved, err := d.exec(ctx, tx, `UPDATE outpost_place SET uid = ?, namespace = ? WHERE uid = ? AND uid <> ?`,
			here.UID, here.Namespace, movedFrom, here.UID)
		if err != nil {
			return err
		}
		if moved > 0 {
			d.log.Info("database moved here", "from", movedFrom, "namespace", here.Namespace, "uid", here.UID)
		}
		return tx.QueryRowContext(ctx, selectPlace).Scan(&there.UID, &there.Namespace)
	})
	if err != nil {
		return err
	}
	if there.UID != here.UID {
		return &outpost.Error{Kind: outpost.KindInvalid, Reason: ReasonPlace, Message: "the rows of this database " +
			"belong to an outpost in namespace " + there.Namespace + " (uid " + there.UID + ") of another cluster, " +
			"or of this one before it was made anew; this outpost, in namespace " + here.Namespace + " (uid " +
			here.UID + "), sees none of its pods and would end its servers. Give each outpost a database of its own."}
	}
	d.place = here.UID
	return nil
}

const selectPlace = `SELECT uid, namespace FROM outpost_place`

// checkPlace returns an error if the database has been moved since Bind.
func (d *DB) checkPlace(ctx context.Context) error {
	if d.place == "" {
		return nil
	}
	var there Place
	if err := d.read.QueryRowContext(ctx, selectPlace).Scan(&there.UID, &there.Namespace); err != nil {
		return err
	}
	if there.UID != d.place {
		return &outpost.Error{Kind: outpost.KindUnavailable, Reason: ReasonPlace, Message: "the database has been " +
			"moved to an outpost in namespace " + there.Namespace + " (uid " + there.UID + ")"}
	}
	return nil
}
