-- Monthly active users: distinct users with a session that began in the month.
SELECT
    CAST(DATE_TRUNC('month', session_timestamp.ts) AS DATE) AS month,
    COUNT(DISTINCT user_session_channel.userid) AS mau
FROM raw_data.session_timestamp
JOIN raw_data.user_session_channel
    ON session_timestamp.sessionid = user_session_channel.sessionid
WHERE session_timestamp.ts >= :window_start
    AND session_timestamp.ts < :window_end
GROUP BY 1
