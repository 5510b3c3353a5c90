// Asks a server with the JDBC driver of PostgreSQL, as DBeaver and other tools of Java do, and prints what it found, a fact a line with tabs between its words.
//
//   java -cp postgresql.jar Jdbc.java URL "SELECT count(*) ..." "SELECT currency, sum(amount) ..."

import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

public class Jdbc {
    public static void main(String[] words) throws SQLException {
        String url = words[0], count = words[1], sums = words[2];
        try (Connection connection = DriverManager.getConnection(url)) {
            try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(count)) {
                rows.next();
                say("count", rows.getLong(1));
            }
            try (PreparedStatement statement = connection.prepareStatement(count + " WHERE amount > ? OR amount <= ? OR amount IS NULL")) {
                // From the fifth time on it is prepared under a name, and values come in binary form.
                for (int turn = 0; turn < 7; turn++) {
                    statement.setBigDecimal(1, new java.math.BigDecimal("10.00"));
                    statement.setBigDecimal(2, new java.math.BigDecimal("10.00"));
                    try (ResultSet rows = statement.executeQuery()) {
                        rows.next();
                        if (turn == 6) {
                            say("count", rows.getLong(1));
                        }
                    }
                }
            }
            connection.setAutoCommit(false);
            connection.setReadOnly(true);
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(100);
                long found = 0;
                try (ResultSet rows = statement.executeQuery("SELECT amount FROM counted")) {
                    while (rows.next()) {
                        found++;
                    }
                }
                say("count", found);
            }
            connection.commit();
            connection.setReadOnly(false);
            connection.setAutoCommit(true);
            try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sums)) {
                while (rows.next()) {
                    say("sum", rows.getString(1), rows.getBigDecimal(2));
                }
            }
            DatabaseMetaData about = connection.getMetaData();
            try (ResultSet rows = about.getSchemas()) {
                while (rows.next()) {
                    say("schema", rows.getString("TABLE_SCHEM"));
                }
            }
            try (ResultSet rows = about.getTables(null, "unified", "%", new String[] {"TABLE", "VIEW"})) {
                while (rows.next()) {
                    say("table", rows.getString("TABLE_NAME"), rows.getString("TABLE_TYPE"));
                }
            }
            try (ResultSet rows = about.getColumns(null, "unified", "transactions", "amount")) {
                while (rows.next()) {
                    say("amount", rows.getString("TYPE_NAME"), rows.getString("REMARKS"));
                }
            }
            read(about.getPrimaryKeys(null, "unified", "transactions"));
            read(about.getImportedKeys(null, "unified", "transactions"));
            read(about.getIndexInfo(null, "unified", "transactions", false, true));
            read(about.getTypeInfo());
            read(about.getCatalogs());
            read(about.getTableTypes());
            read(about.getProcedures(null, "unified", "%"));
            read(about.getFunctions(null, "unified", "%"));
            try (Statement statement = connection.createStatement()) {
                statement.executeUpdate("DELETE FROM transactions");
            } catch (SQLException refused) {
                say("refused", refused.getSQLState());
            }
        }
    }

    private static void read(ResultSet rows) throws SQLException {
        while (rows.next()) {
            rows.getString(1);
        }
        rows.close();
    }

    private static void say(String kind, Object... facts) {
        StringBuilder line = new StringBuilder(kind);
        for (Object fact : facts) {
            line.append('\t').append(String.valueOf(fact).replaceAll("\\s+", " "));
        }
        System.out.println(line);
    }
}
